"""How many parameters an adapter has, and the settings at which another has as many."""

from collections.abc import Mapping

from pydantic import BaseModel
from transformers import PreTrainedModel

from tenfold import plugins
from tenfold.adapters._base import Kind
from tenfold.adapters.targets import match
from tenfold.errors import AdapterError

MOST = 1 << 20
"""Rank or width beyond which none is looked for."""


def sizes(model: PreTrainedModel, adapters: Mapping[str, BaseModel]) -> dict[tuple[str, str], list[int]]:
    """By kind and by the last part of a layer's name: the parameters on each such layer. No weights are needed."""
    found: dict[tuple[str, str], list[int]] = {}
    for kind, config in adapters.items():
        module: Kind = plugins.find("tenfold.adapters", kind)
        for layer in match(model, module.targets(config)):
            found.setdefault((kind, layer.name.rsplit(".", 1)[-1]), []).append(module.size(config, layer))
    return found


def total(model: PreTrainedModel, adapters: Mapping[str, BaseModel]) -> int:
    """All of their parameters."""
    return sum(map(sum, sizes(model, adapters).values()))


def matched(model: PreTrainedModel, kind: str, config: BaseModel, wanted: int) -> tuple[BaseModel, int]:
    """The settings with the rank or width that brings this kind nearest to a number of parameters, and its own number.

    Raises AdapterError for a kind whose size is not a matter of one setting, or for a number out of reach.
    """
    key = plugins.find("tenfold.adapters", kind).BUDGET
    if key is None:
        raise AdapterError(f"{kind} has no rank or width to match a number of parameters with")

    def at(value: int) -> tuple[BaseModel, int]:
        tried = type(config).model_validate({**config.model_dump(exclude_unset=True), key: value})
        return tried, total(model, {kind: tried})

    low, high = 1, MOST
    if at(high)[1] < wanted:
        raise AdapterError(f"{kind} does not reach {wanted:,} parameters with {key} up to {MOST:,}")
    while low < high:  # the least value that reaches what is wanted
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle)[1] >= wanted else (middle + 1, high)
    return min((at(value) for value in (max(1, low - 1), low)), key=lambda one: abs(one[1] - wanted))
