"""The modules that an adapter has for itself (heads, ``modules_to_save``) in its file, as PEFT names them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from tenfold.adapters import copies
from tenfold.base.model import Base
from tenfold.errors import AdapterError
from tenfold.store import peft

PREFIX = "base_model.model."

Shape = tuple[int, ...]


def key(place: str, name: str) -> str:
    """The name in an adapter's file of a tensor that belongs to a module of the base."""
    return f"{PREFIX}{place}.{name}"


def tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What is written of an adapter's own modules."""
    found = {key(place, name): value for place, one in modules.items() for name, value in one.state_dict().items()}
    return {name: value.detach().cpu().contiguous() for name, value in found.items()}


def shells(base: Base, settings: dict[str, Any], given: Callable[[], Mapping[str, Shape]]) -> dict[str, nn.Module]:
    """The modules that an adapter_config.json names, without weights. given: the shapes in the adapter's file.

    Raises AdapterError where a classification base without a head of its own gets none.
    """
    names = peft.own_modules(base.model, settings)
    if base.heads and not base.trained_head and not set(base.heads) <= set(names):
        raise AdapterError(f"it has no head ({', '.join(base.heads)}), and {base.name} has none of its own")
    found = {name.removeprefix(PREFIX): shape for name, shape in given().items()} if names else {}
    return copies.shells(base, names, found)


def shapes(modules: Mapping[str, nn.Module]) -> dict[str, Shape]:
    """Every tensor that must stand in the file for them."""
    return {
        key(place, name): tuple(value.shape)
        for place, one in modules.items()
        for name, value in one.state_dict().items()
    }


def fill(modules: Mapping[str, nn.Module], values: Mapping[str, Tensor]) -> None:
    """Give the modules their weights from a file."""
    for place, one in modules.items():
        one.load_state_dict({name: values[key(place, name)] for name in one.state_dict()}, assign=True)
