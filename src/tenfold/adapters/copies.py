"""Modules that an adapter has in full and for itself: the heads of classification, and any that it names."""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tenfold.adapters.targets import fits
from tenfold.base.families import within
from tenfold.base.model import Base
from tenfold.errors import AdapterError, nearest

Shapes = Mapping[str, Sequence[int]]


def new_heads(base: Base, labels: int, seed: int) -> dict[str, nn.Module]:
    """Heads with so many classes, by dotted name: the checkpoint's own where they fit, else as the model draws them."""
    skeleton = _skeleton(base, labels)
    found = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in base.heads:
            theirs, own = base.model.get_submodule(name), skeleton.get_submodule(name)
            if base.trained_head and _shapes(theirs) == _shapes(own):
                found[name] = _float(_copy(theirs))
            else:
                found[name] = _float(own.to_empty(device="cpu"))
                own.apply(skeleton._init_weights)
    return found


def new_copies(base: Base, names: Sequence[str]) -> dict[str, nn.Module]:
    """Copies of the modules that the names (suffixes or full dotted names) mean.

    Raises AdapterError for a name that means none, and for a module that the base holds in few bits.
    """
    for name in find(base, names):
        if not all(p.is_floating_point() for p in base.model.get_submodule(name).parameters()):
            raise AdapterError(f"modules_to_save: {name} is held in {base.quantization}; only floats can be copied")
    return {name: _float(_copy(base.model.get_submodule(name))) for name in find(base, names)}


def size(base: Base, labels: int, names: Sequence[str]) -> int:
    """Parameters of the heads with so many classes and of copies of these modules, without building any."""
    heads = _shapes_of(_skeleton(base, labels), base.heads) if base.heads else {}
    shapes = [*heads.values(), *_shapes_of(base.model, find(base, names)).values()]
    return sum(math.prod(shape) for shape in shapes)


def find(base: Base, names: Sequence[str]) -> list[str]:
    """The modules that are meant, in the model's order. Raises AdapterError for a name that means none.

    Heads of a classification model are left out: every adapter has its own anyway.
    """
    known = [
        name for name, module in base.model.named_modules() if name and next(module.parameters(), None) is not None
    ]
    for name in names:
        if not any(fits(one, name) for one in known):
            last = sorted({one.rsplit(".", 1)[-1] for one in known} - {str(n) for n in range(1000)})
            raise AdapterError(
                f"modules_to_save: {name!r} matches no module of {type(base.model).__name__} that has weights; "
                f"there are: {', '.join(last)}{nearest(name, last)}"
            )
    meant = [one for one in known if any(fits(one, name) for name in names) and not within(one, base.heads)]
    return [one for one in meant if not any(one != other and within(one, [other]) for other in meant)]


def shells(base: Base, names: Collection[str], given: Shapes) -> dict[str, nn.Module]:
    """Modules without weights (on the meta device) for what an adapter's file holds, by dotted name.

    given: the shapes in the file by the parameters' names; they say how many classes its heads have.
    """
    heads = [name for name in names if name in base.heads]
    model = _skeleton(base, _labels(base, heads, given)) if heads else base.model
    return {name: _float(_empty((model if name in heads else base.model).get_submodule(name))) for name in names}


def _empty(module: nn.Module) -> nn.Module:
    """A copy of a module, without its weights."""
    meta = {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in module.parameters()}
    return _copy(module, meta)


def _copy(module: nn.Module, instead: Mapping[int, Any] | None = None) -> nn.Module:
    """A copy of a module as it is without adapters. instead: by id, what takes the place of its parts."""
    hosts = {id(one.__dict__["forward"]): None for one in module.modules() if "forward" in one.__dict__}
    found = copy.deepcopy(module, memo={**hosts, **(instead or {})})
    for one in found.modules():
        one.__dict__.pop("forward", None)
    return found


def classes(base: Base, own: Mapping[str, nn.Module]) -> int | None:
    """How many classes an adapter's own heads have; None where it has none."""
    heads = [name for name in own if name in base.heads]
    given = {f"{name}.{key}": shape for name in heads for key, shape in _shapes(own[name]).items()}
    return _labels(base, heads, given) if heads else None


def _labels(base: Base, heads: Sequence[str], given: Shapes) -> int:
    """How many classes heads of these shapes have: a head with two and one with three differ just there."""
    two, three = (_shapes_of(_skeleton(base, labels), heads) for labels in (2, 3))
    for name, shape in two.items():
        places = [i for i, (a, b) in enumerate(zip(shape, three[name], strict=True)) if a != b]
        if places and name in given and len(given[name]) == len(shape):
            return int(given[name][places[0]])
    raise AdapterError(f"it has no head: none of its tensors is one of {', '.join(heads)}")


def _skeleton(base: Base, labels: int) -> PreTrainedModel:
    config = copy.deepcopy(base.model.config)
    config.num_labels = labels
    with torch.device("meta"):
        return type(base.model)(config)


def _shapes_of(model: nn.Module, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {f"{n}.{key}": shape for n in names for key, shape in _shapes(model.get_submodule(n)).items()}


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(p.shape) for key, p in module.named_parameters()}


def _float(module: nn.Module) -> nn.Module:
    return module.float().eval()
