"""An adapter's change put into the base's own weights, for a while, and taken out by putting the old ones back."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tenfold.adapters.bank import Bank
from tenfold.base.weights import plain_weight
from tenfold.errors import AdapterError


@contextmanager
def merged(bank: Bank, name: str) -> Iterator[None]:
    """Inside the block the base alone computes what it computes with the adapter.

    The merged weights are copies made from the pristine ones, all of them before the first is used; when the block
    ends, however it ends, the base has the very tensors that it had. Raises AdapterError for a kind that no matrix
    can replace and for a base that is not held in floats.
    """
    changes = _merge(bank, name)
    before = {parameter: parameter.data for parameter in changes}
    try:
        for parameter, value in changes.items():
            parameter.data = value
        yield
    finally:
        for parameter, value in before.items():
            parameter.data = value


@torch.no_grad()
def _merge(bank: Bank, name: str) -> dict[nn.Parameter, Tensor]:
    """What the weights (and biases) under an adapter become."""
    installed, changes = bank.get(name), {}
    for layer, part in installed.modules.items():
        module = bank.base.model.get_submodule(layer)
        weight, bias = plain_weight(module), module.bias
        if weight is None:
            held = bank.base.quantization or type(module).__name__
            raise AdapterError(f"{name!r} cannot be merged into a base in {held}: load the base in floats")
        found = part.merge(weight, bias)
        if found is None:
            raise AdapterError(f"{name!r} cannot be merged: no matrix does what {installed.kind} does")
        new = found[0].T if isinstance(module, Conv1D) else found[0]
        changes[module.weight] = new.contiguous()
        if found[1] is not None and found[1] is not bias:
            changes[bias] = found[1]
    return changes
