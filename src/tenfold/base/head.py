"""From hidden states to logits through the model's own code, for as many positions at a time as wanted.

Gemma 2 caps its logits after ``lm_head``, Granite divides and Cohere multiplies them. So the head is not
``lm_head`` but all of the model's ``forward`` behind its backbone: it is called with a stand-in whose
backbone hands back the hidden states that it is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.modeling_outputs import Seq2SeqModelOutput as PairStates

from tenfold.base.attention import Layout
from tenfold.base.model import Base
from tenfold.base.pack import Pack
from tenfold.errors import ModelError


def backbone(model: PreTrainedModel) -> Any:
    """The model without its head: what turns tokens into hidden states (T, D)."""
    found = getattr(model, model.base_model_prefix, None)
    if found is None or found is model:
        raise ModelError(f"{type(model).__name__} has no backbone named {model.base_model_prefix!r}; causal LMs have")
    return found


def forward(base: Base, packed: Pack) -> Tensor:
    """Run the backbone over one pass -> hidden states (B * L, D) of its flattened tokens.

    A classification model runs whole, since its own code pools: its logits (B, C), one line each.
    """
    if base.family == "classification":
        out = base.model(input_ids=packed.input_ids, attention_mask=packed.attention_mask)
        return out.logits  # type: ignore[no-any-return]
    if base.family == "seq2seq":
        return _decoder_states(base.model, packed)
    return hidden_states(
        base.model,
        packed.input_ids,
        packed.position_ids,
        attention_mask=packed.attention_mask,
        layout=packed.layout,
    )


def hidden_states(
    model: PreTrainedModel,
    input_ids: Tensor,
    position_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    layout: Layout | None = None,
) -> Tensor:
    """input_ids and position_ids (B, L) -> hidden states (B * L, D)."""
    extra = {} if layout is None else {"layout": layout}
    out = backbone(model)(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=attention_mask,
        use_cache=False,
        **extra,
    )
    return out.last_hidden_state.flatten(0, 1)  # type: ignore[no-any-return]


def _decoder_states(model: PreTrainedModel, packed: Pack) -> Tensor:
    """Encoder over the sources, decoder over the tokens -> the decoder's hidden states (B * L, D).

    The decoder looks back only, so that what follows a row's end is no matter and needs no mask.
    """
    read = model.get_encoder()(input_ids=packed.source_ids, attention_mask=packed.source_mask).last_hidden_state
    out = model.get_decoder()(
        input_ids=packed.input_ids,
        encoder_hidden_states=read,
        encoder_attention_mask=packed.source_mask,
        use_cache=False,
    )
    return out.last_hidden_state.flatten(0, 1)  # type: ignore[no-any-return]


@dataclass
class _HiddenStates(BaseModelOutputWithPastAndCrossAttentions):  # type: ignore[misc]
    """What heads look for in a backbone's output; router_logits: mixtures of experts do."""

    router_logits: tuple[Tensor, ...] | None = None


class _HeadOnly:
    """The model as its own ``forward`` sees it, but for the backbone (T5 has none by one name: the decoder)."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name in (self._model.base_model_prefix, "decoder"):
            return _hand_back
        return getattr(self._model, name)


def _hand_back(
    *_: Any, inputs_embeds: Tensor | None = None, decoder_inputs_embeds: Tensor | None = None, **__: Any
) -> _HiddenStates | PairStates:
    if decoder_inputs_embeds is not None:
        return PairStates(last_hidden_state=decoder_inputs_embeds)
    return _HiddenStates(last_hidden_state=inputs_embeds)


def logits(base: Base, hidden: Tensor) -> Tensor:
    """hidden (K, D) from ``forward`` -> logits (K, V), scaled and capped as the model does it."""
    if base.family == "classification":
        return hidden
    model, only = base.model, _HeadOnly(base.model)
    if base.family == "seq2seq":
        read = (hidden[None],)  # stands for the encoder's output, which is not looked at
        out = type(model).forward(only, encoder_outputs=read, decoder_inputs_embeds=hidden[None], use_cache=False)
    else:
        out = type(model).forward(only, inputs_embeds=hidden[None], use_cache=False)
    return out.logits[0]  # type: ignore[no-any-return]


@contextmanager
def checkpointing(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """Keep no activations inside the model's layers, but compute them again in the backward pass.

    The model stays in eval mode, so that its dropout is off; only the layers that recompute are told to.
    Raises ModelError for a model that cannot.
    """
    if not wanted:
        yield
        return
    if not model.supports_gradient_checkpointing:
        raise ModelError(f"gradient_checkpointing: {type(model).__name__} does not support it")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        model.gradient_checkpointing_disable()
