"""From hidden states to logits through the model's own code, for as many positions at a time as wanted.

Gemma 2 caps its logits after ``lm_head``, Granite divides and Cohere multiplies them. So the head is not
``lm_head`` but all of the model's ``forward`` behind its backbone: it is called with a stand-in whose
backbone hands back the hidden states that it is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as HiddenStates

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
    """Run the backbone over one pass -> hidden states (B * L, D) of its flattened tokens."""
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


class _HeadOnly:
    """The model as its own ``forward`` sees it, but for the backbone."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name == self._model.base_model_prefix:
            return _hand_back
        return getattr(self._model, name)


def _hand_back(*_: Any, inputs_embeds: Tensor, **__: Any) -> HiddenStates:
    return HiddenStates(last_hidden_state=inputs_embeds)


def logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """hidden (K, D) from the backbone -> logits (K, V), scaled and capped as the model does it."""
    out = type(model).forward(_HeadOnly(model), inputs_embeds=hidden[None], use_cache=False)
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
