"""Which layers of a model an adapter sits on."""

from collections.abc import Iterable

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tenfold.adapters._base import Layer
from tenfold.errors import AdapterError, nearest


def linear_layers(model: PreTrainedModel) -> dict[str, Layer]:
    """Every linear layer by dotted name, but for the output head (and so tied embeddings)."""
    head = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, nn.Linear):
            found[name] = Layer(name, module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            found[name] = Layer(name, module.nx, module.nf, transposed=True)
    return found


def match(model: PreTrainedModel, targets: Iterable[str] | None) -> list[Layer]:
    """The layers that suffixes or dotted names select, in the model's order; None selects all linear ones.

    Raises AdapterError for a target that matches nothing, with what there is.
    """
    layers = linear_layers(model)
    if targets is None:
        return list(layers.values())
    chosen: set[str] = set()
    for target in targets:
        hits = {name for name in layers if name == target or name.endswith("." + target)}
        if not hits:
            suffixes = sorted({name.rsplit(".", 1)[-1] for name in layers})
            raise AdapterError(
                f"target {target!r} matches no linear layer of {type(model).__name__}; there are: "
                f"{', '.join(suffixes)}{nearest(target, suffixes)}"
            )
        chosen |= hits
    return [layer for name, layer in layers.items() if name in chosen]


def shortest(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """Suffixes that select just these layers where there are such, else the full names (for PEFT's config)."""
    wanted = set(names)
    suffixes = sorted({name.rsplit(".", 1)[-1] for name in wanted})
    meant = {name for name, _ in model.named_modules() if name.rsplit(".", 1)[-1] in suffixes}
    return suffixes if meant == wanted else sorted(wanted)
