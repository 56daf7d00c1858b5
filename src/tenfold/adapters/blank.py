"""An adapter's parts without numbers, to be filled from a file: nothing is allocated, nothing drawn."""

from collections.abc import Sequence
from typing import Any

import torch

from tenfold.adapters._base import Adapter, Kind, Layer
from tenfold.errors import AdapterError

Shape = tuple[int, int, bool]


def blank(kind: Kind, config: Any, layers: Sequence[Layer]) -> dict[Layer, Adapter]:
    """A part for each layer, its parameters on the meta device.

    A kind whose parts follow from the layer's shape is built once for each shape and copied. Raises AdapterError
    for settings that are too large for a tensor.
    """
    parts: dict[Layer, Adapter] = {}
    first: dict[Shape, Adapter] = {}
    for layer in layers:
        shape = layer.d_in, layer.d_out, layer.transposed
        parts[layer] = _copy(first[shape]) if shape in first else _build(kind, config, layer)
        if kind.Adapter.shaped:
            first.setdefault(shape, parts[layer])
    return parts


def _build(kind: Kind, config: Any, layer: Layer) -> Adapter:
    try:
        with torch.device("meta"):
            return kind.Adapter(config, layer, torch.Generator("cpu"))
    except (RuntimeError, TypeError, OverflowError):
        raise AdapterError(f"{config!r:.200} is too large for layer {layer.name!r}") from None


def _copy(part: Adapter) -> Adapter:
    """The same part with dictionaries of its own; what copy.deepcopy does, many times over, costs milliseconds."""
    twin = part.__new__(type(part))
    twin.__dict__ = {key: value.copy() if isinstance(value, dict) else value for key, value in vars(part).items()}
    return twin
