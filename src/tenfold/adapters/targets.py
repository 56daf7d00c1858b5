"""Which layers of a model an adapter sits on."""

from collections.abc import Collection, Iterable

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tenfold.adapters._base import Layer, Targets
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


def match(model: PreTrainedModel, targets: Targets) -> list[Layer]:
    """The layers that targets select, in the model's order.

    Raises AdapterError for a target or a number that matches nothing, with what there is.
    """
    layers = linear_layers(model)
    chosen = set(layers) if targets.names is None else _named(model, layers, targets)
    if targets.layers is not None:
        chosen = _numbered(model, chosen, targets.layers)
    return [layer for name, layer in layers.items() if name in chosen]


def fits(name: str, target: str) -> bool:
    """Whether a dotted name is this target or ends in it."""
    return name == target or name.endswith("." + target)


def _named(model: PreTrainedModel, layers: Iterable[str], targets: Targets) -> set[str]:
    names = targets.names or ()
    hits = {target: {name for name in layers if fits(name, target)} for target in names}
    missing = [target for target in names if not hits[target]]
    if missing and (targets.each or len(missing) == len(names)):
        suffixes = sorted({name.rsplit(".", 1)[-1] for name in layers})
        what = repr(missing[0]) if targets.each else f"none of {', '.join(map(repr, names))}"
        raise AdapterError(
            f"target {what} matches {'no' if targets.each else 'a'} linear layer of {type(model).__name__}; there are: "
            f"{', '.join(suffixes)}{nearest(missing[0], suffixes)}"
        )
    return set().union(*hits.values())


def _numbered(model: PreTrainedModel, names: Iterable[str], wanted: Collection[int]) -> set[str]:
    numbers = {name: next((int(part) for part in name.split(".") if part.isdigit()), -1) for name in names}
    there = set(numbers.values()) - {-1}
    if absent := sorted(set(wanted) - there):
        range_ = f"{min(there)} to {max(there)}" if there else "none"
        raise AdapterError(f"{type(model).__name__} has no such layer {absent[0]}; there are: {range_}")
    return {name for name, number in numbers.items() if number in wanted}


def shortest(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """Suffixes that select just these layers where there are such, else the full names (for PEFT's config)."""
    wanted = set(names)
    suffixes = sorted({name.rsplit(".", 1)[-1] for name in wanted})
    meant = {name for name, _ in model.named_modules() if name.rsplit(".", 1)[-1] in suffixes}
    return suffixes if meant == wanted else sorted(wanted)
