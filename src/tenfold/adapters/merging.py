"""An adapter's change put into the base's own weights, for a while, and taken out by putting the old ones back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tenfold.adapters import copies
from tenfold.adapters.bank import Bank, Installed
from tenfold.base.weights import plain_weight
from tenfold.errors import AdapterError


@contextmanager
def merged(bank: Bank, name: str, classes: Sequence[str] = ()) -> Iterator[None]:
    """Inside the block the base alone computes what it computes with the adapter.

    classes: the names of what its head tells apart, for the model's config.

    The merged weights are copies made from the pristine ones, all of them before the first is used; when the block
    ends, however it ends, the base has the very tensors that it had. Raises AdapterError for a kind that no matrix
    can replace and for a base that is not held in floats. The adapter's own modules take the place of the base's.
    """
    changes = {**_merge(bank, name), **_replace(bank, name)}
    before = {parameter: parameter.data for parameter in changes}
    config, own = bank.base.model.config, copies.classes(bank.base, bank.get(name).copies)
    known = config.id2label, config.label2id
    try:
        for parameter, value in changes.items():
            parameter.data = value
        if own:
            named = dict(enumerate(classes if len(classes) == own else (f"LABEL_{i}" for i in range(own))))
            config.id2label, config.label2id = named, {label: i for i, label in named.items()}
        yield
    finally:
        config.id2label, config.label2id = known
        for parameter, value in before.items():
            parameter.data = value


def _replace(bank: Bank, name: str) -> dict[nn.Parameter, Tensor]:
    """The weights of the modules that the adapter has for itself. Raises AdapterError for weights that are tied."""
    model, found = bank.base.model, {}
    places: dict[int, list[str]] = {}
    for key, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(key)
    for place, own in bank.get(name).copies.items():
        theirs = dict(model.get_submodule(place).named_parameters())
        for key, parameter in own.named_parameters():
            if len(tied := places[id(theirs[key])]) > 1:
                raise AdapterError(f"{name!r} cannot be merged: its own {place} would change {' and '.join(tied)} too")
            found[theirs[key]] = parameter.detach().to(theirs[key].dtype)
    return found


@torch.no_grad()
def _merge(bank: Bank, name: str) -> dict[nn.Parameter, Tensor]:
    """What the weights (and biases) under an adapter become."""
    installed, changes = bank.get(name), {}
    for layer, part in installed.modules.items():
        module = bank.base.model.get_submodule(layer)
        if not isinstance(getattr(module, "weight", None), Tensor):  # a whole MLP
            raise _refusal(name, installed)
        weight, bias = plain_weight(module), module.bias
        if weight is None:
            held = bank.base.quantization or type(module).__name__
            raise AdapterError(f"{name!r} cannot be merged into a base in {held}: load the base in floats")
        found = part.merge(weight, bias)
        if found is None:
            raise _refusal(name, installed)
        new = found[0].T if isinstance(module, Conv1D) else found[0]
        changes[module.weight] = new.contiguous()
        if found[1] is not None and found[1] is not bias:
            changes[bias] = found[1]
    return changes


def _refusal(name: str, installed: Installed) -> AdapterError:
    return AdapterError(f"{name!r} cannot be merged: no matrix does what {installed.kind} does")
