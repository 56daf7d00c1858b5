"""The ways of holding a base's linear layers that ``quantised.py`` compares, and the bytes that each takes.

The first three are tenfold's own (``base_quantization``). The others are tried for decoding only: torchao's int8,
where torchao is installed, and the int8 product that torch itself has for bfloat16 on CPUs.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tenfold import base
from tenfold.base import Base, Quantization

FLOATS = "float32"
OWN: dict[str, Quantization | None] = {FLOATS: None, "nf4": Quantization("nf4"), "int8": Quantization("int8")}
TORCHAO = {
    "torchao, int8 weights": ("Int8WeightOnlyConfig", False),
    "torchao, int8 weights, compiled": ("Int8WeightOnlyConfig", True),
    "torchao, int8 weights and activations": ("Int8DynamicActivationInt8WeightConfig", False),
}
KERNEL = "torch's int8 product, bfloat16 activations"
SMALLEST = 1e-12


def names(compiled: bool) -> list[str]:
    """All that can be tried here."""
    there = importlib.util.find_spec("torchao") is not None
    torchao = [name for name, (_, compiles) in TORCHAO.items() if there and (compiled or not compiles)]
    return [*OWN, *torchao, KERNEL]


def load(name: str, base_model: str) -> Base:
    """The base with its linear layers held in this way; the output head stays floats in each."""
    loaded = base.load(base_model, quantization=OWN.get(name))
    if name in TORCHAO:
        config, compiles = TORCHAO[name]
        package: Any = importlib.import_module("torchao.quantization")
        package.quantize_(loaded.model, getattr(package, config)(), filter_fn=_but_the_head(loaded))
        for module in linear(loaded) if compiles else ():
            module.compile()
    if name == KERNEL:
        for module_name, module in [(n, m) for n, m in loaded.model.named_modules() if _but_the_head(loaded)(m, n)]:
            parent, _, own = module_name.rpartition(".")
            setattr(loaded.model.get_submodule(parent), own, Int8(module.weight, module.bias))  # type: ignore[arg-type]
    return loaded


def linear(loaded: Base) -> list[nn.Module]:
    """The linear layers but for the head."""
    wanted = _but_the_head(loaded)
    return [module for name, module in loaded.model.named_modules() if wanted(module, name)]


def _but_the_head(loaded: Base) -> Callable[[nn.Module, str], bool]:
    head = loaded.model.get_output_embeddings()
    return lambda module, _: isinstance(module, nn.Linear) and module is not head


class Int8(nn.Module):
    """x W^T with W (D_out, D_in) in 8 bits, a scale for each row, and x rounded to bfloat16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = weight.abs().amax(1).clamp_min(SMALLEST) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale.bfloat16())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., D_in) -> (..., D_out)."""
        flat = x.reshape(-1, x.shape[-1]).bfloat16()
        y = torch._weight_int8pack_mm(flat, self.weight, self.scale).to(x.dtype)
        y = y.view(*x.shape[:-1], y.shape[-1])
        return y if self.bias is None else y + self.bias


def size(loaded: Base) -> int:
    """Bytes of all tensors of the model, scales included, shared ones once."""
    every = [*loaded.model.parameters(), *loaded.model.buffers()]
    parts = [part.untyped_storage() for tensor in every for part in _parts(tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in parts}.values())


def _parts(value: Any) -> Iterator[Tensor]:
    """The plain tensors behind a parameter, with what bitsandbytes and torchao keep beside the numbers."""
    if type(value).__name__ == "QuantState":
        for part in vars(value).values():
            yield from _parts(part)
    elif hasattr(value, "__tensor_flatten__"):
        for name in value.__tensor_flatten__()[0]:
            yield from _parts(getattr(value, name))
    elif isinstance(value, Tensor):
        yield value
        yield from _parts(getattr(value, "quant_state", None))
        yield from _parts(getattr(value, "SCB", None))
