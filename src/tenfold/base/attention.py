"""One attention function for packed rows: transformers calls it, a layout decides what it does.

transformers looks an attention function up by name in its ``AttentionInterface`` and hands it every
keyword that the model was called with. tenfold calls the model with ``layout=``, so that what a pass
looks like is an argument of that pass and not a global. Keywords that change the result (windows,
soft caps) are honoured; any that is not known is refused, and the probe then takes a slower path.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface

NAME = "tenfold"
HARMLESS = frozenset(
    {"is_causal", "position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states",
     "head_mask", "layer_past", "past_key_values", "num_items_in_batch", "position_embeddings", "cu_seq_lens_q",
     "cu_seq_lens_k", "max_length_q", "max_length_k", "output_router_logits", "return_dict"}
)  # fmt: skip


class UnsupportedError(RuntimeError):
    """A model passes its attention something that packed attention does not know."""


class Layout(Protocol):
    """How the tokens of one forward pass see each other."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """query (T, H, D), key and value (T, Hkv, D) of one layer -> (T, H, D).

        window: a token sees itself and the window - 1 tokens before it; None is all of them.
        softcap: scores s become softcap * tanh(s / softcap) before the softmax (Gemma 2).
        """
        ...


def fold(mask: Tensor, share: int, dtype: torch.dtype) -> Tensor:
    """A mask (N or 1, L, S), True where a query sees a key, as what is added to scores: (N or 1, 1, share * L, S).

    share: heads of a key-value group. Worth keeping where one mask serves every layer.
    """
    added = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
    return added[:, None].repeat(1, 1, share, 1)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    causal: bool = False,
) -> Tensor:
    """Scaled dot-product attention on key-value groups, without expanding them.

    query (N, H, L, D), key and value (N, Hkv, S, D) with H a multiple of Hkv; mask as ``fold`` takes it, or as
    it gives it back -> (N, H, L, D).
    """
    rows, heads, length, width = query.shape
    groups = key.shape[1]
    share = heads // groups
    if causal and softcap is None:
        return F.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=heads != groups
        )
    if causal:
        mask = torch.ones(length, key.shape[2], dtype=torch.bool, device=query.device).tril()[None]
    if mask is not None and mask.dtype == torch.bool:
        mask = fold(mask, share, query.dtype)
    # The heads of a group are laid one after the other as further queries of that group.
    folded = query.reshape(rows, groups, share * length, width)
    if softcap is None:
        out = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scale)
    else:
        scores = softcap * torch.tanh(folded @ key.transpose(-1, -2) * scale / softcap)
        scores = scores if mask is None else scores + mask
        out = scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return out.reshape(rows, heads, length, value.shape[-1])


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls: query (1, H, T, D), key and value (1, Hkv, T, D) -> (1, T, H, D)."""
    unknown = [name for name, given in others.items() if given is not None and name not in HARMLESS]
    if layout is None or unknown or dropout or query.shape[0] != 1:
        raise UnsupportedError(f"{type(module).__name__}: {unknown or 'no layout reached it'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    out = layout.attend(int(module.layer_idx), q, k, v, scale, sliding_window, softcap)  # type: ignore[arg-type]
    return out[None], None


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)


@contextmanager
def attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    """The model with another attention implementation, for the duration of a ``with`` block.

    A model with attention code of its own keeps it, whichever is asked for but ``NAME``: UnsupportedError then.
    """
    before = model.config._attn_implementation
    fixed = not model._can_set_attn_implementation()
    if fixed and name == NAME:
        raise UnsupportedError(f"{type(model).__name__} has attention code of its own")
    if fixed or before == name:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
