"""Frozen linear layers through oneDNN where torch's own product is the slower one: AMD's processors.

torch hands float32 products to MKL, which keeps its best code for Intel's. oneDNN's, which torch brings too, takes some
tenth to a sixth less time there, without another copy of the weights. The same sums in another order, no gradients.
"""

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Product:
    """Stands at a linear layer's ``forward`` for a while."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D_in) -> (..., D_out)."""
        weight, bias = self.layer.weight, self.layer.bias
        if x.dtype != torch.float32 or weight.dtype != torch.float32:
            return F.linear(x, weight, bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out


def products(modules: dict[str, nn.Module]) -> dict[str, Product]:
    """One for each of the linear layers by dotted name, none where torch's own is as good."""
    linear = {name: module for name, module in modules.items() if type(module) is nn.Linear}
    return {name: Product(module) for name, module in linear.items() if module.weight.device.type == "cpu" and better()}


@functools.cache
def better() -> bool:
    """Whether the processor is AMD's and this torch has the product."""
    info = Path("/proc/cpuinfo")
    amd = info.exists() and "AuthenticAMD" in info.read_text("utf-8", errors="replace")
    return amd and hasattr(torch.ops.mkldnn, "_linear_pointwise")
