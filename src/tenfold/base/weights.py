"""The weight of a frozen layer as a matrix, whichever way round the layer keeps it."""

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


def plain_weight(module: nn.Module) -> Tensor | None:
    """The weight (D_out, D_in) of a float linear layer, a view of it; None for any other module."""
    if type(module) is nn.Linear and module.weight.is_floating_point():
        return module.weight
    if isinstance(module, Conv1D):
        return module.weight.T  # type: ignore[no-any-return]
    return None
