"""Linear layers held in 4 or 8 bits through bitsandbytes: less memory for the frozen base, adapters stay floats.

nf4: 4 bits a weight in blocks of 64 (Dettmers et al. 2023, arXiv:2305.14314). int8: 8 bits with one scale a row,
activations too (Dettmers et al. 2022, arXiv:2208.07339) with threshold 0: with any other, what a row gives
depends on its neighbours in the batch.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tenfold import plugins
from tenfold.base.families import within
from tenfold.base.weights import plain_weight

BLOCKS = (64, 32)
"""Weights under one scale of nf4, preferred first. bitsandbytes' CPU kernel takes the wrong scales where a block
reaches from one row into the next, so a block must divide the rows' width."""


@dataclass(frozen=True)
class Quantization:
    """How linear layers are held. The rest of the model, embeddings and the output head with it, stays as it is.

    double: nf4's scales are quantised too. compute: float type of nf4's products, None is the base's own.
    """

    kind: Literal["nf4", "int8"]
    double: bool = True
    compute: torch.dtype | None = None

    def __str__(self) -> str:
        """As ``card.json`` and ``plan.json`` say it: ``nf4 double``, ``int8``."""
        if self.kind == "int8":
            return "int8"
        compute = f" {str(self.compute).removeprefix('torch.')}" if self.compute else ""
        return f"nf4{' double' if self.double else ''}{compute}"


def quantize(
    model: PreTrainedModel, how: Quantization, device: str | torch.device, without: Collection[str] = ()
) -> None:
    """Replace the linear layers in place, one after the other, by quantised ones on the device.

    Their names stay. Those in the modules ``without`` and those that the model wants in float32 (T5's ``wo``)
    stay floats, and with nf4 those whose width is no multiple of 32.
    Raises MissingExtraError where bitsandbytes is not installed.
    """
    package, head = _bitsandbytes(), model.get_output_embeddings()
    floats = set(model._keep_in_fp32_modules or ())
    kept = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in floats]
    for name, module in list(model.named_modules()):
        weight = None if module is head or within(name, (*without, *kept)) else plain_weight(module)
        if weight is not None and (how.kind == "int8" or _block(weight)):
            layer = (_nf4 if how.kind == "nf4" else _int8)(package, weight, how)
            if module.bias is not None:
                layer.bias = nn.Parameter(module.bias.detach().to(device), requires_grad=False)
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.eval().to(device))
    _let_go_of_the_file(model)


def _let_go_of_the_file(model: PreTrainedModel) -> None:
    """Copy what stays floats: as views of the weights' file those tensors would keep all of it in memory."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.clone()


def matrix(module: nn.Module) -> Tensor | None:
    """The weight (D_out, D_in) of a linear layer as floats, where it is quantised made from its bits; else None."""
    plain, weight = plain_weight(module), getattr(module, "weight", None)
    if plain is not None or not isinstance(weight, Tensor):
        return plain
    if getattr(weight, "quant_state", None) is not None:
        return _bitsandbytes().functional.dequantize_4bit(weight.data, weight.quant_state)  # type: ignore[no-any-return,attr-defined]
    if weight.dtype == torch.int8:
        scales = weight.SCB if weight.SCB is not None else module.state.SCB  # type: ignore[attr-defined,union-attr]
        return weight.data * (scales[:, None] / 127)  # type: ignore[index]
    return None


def _block(weight: Tensor) -> int | None:
    """The block size of nf4 for a weight (D_out, D_in)."""
    return next((size for size in BLOCKS if weight.shape[1] % size == 0), None)


def _nf4(package: ModuleType, weight: Tensor, how: Quantization) -> Any:
    layer = package.nn.Linear4bit(
        weight.shape[1], weight.shape[0], bias=False, device="meta", quant_type="nf4",
        compress_statistics=how.double, compute_dtype=how.compute or weight.dtype,
    )  # fmt: skip
    layer.support_avx512bf16_for_cpu = False  # its packed form computes in another type than was asked for
    layer.weight = package.nn.Params4bit(
        weight.detach().contiguous(),
        requires_grad=False,
        compress_statistics=how.double,
        quant_type="nf4",
        blocksize=_block(weight),
        module=layer,
    )
    return layer


def _int8(package: ModuleType, weight: Tensor, how: Quantization) -> Any:
    layer = package.nn.Linear8bitLt(
        weight.shape[1], weight.shape[0], bias=False, has_fp16_weights=False, threshold=0.0, device="meta"
    )
    layer.weight = package.nn.Int8Params(weight.detach().contiguous(), requires_grad=False, has_fp16_weights=False)
    return layer


def _bitsandbytes() -> ModuleType:
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # else int8 says at every product that it rounds
    return plugins.optional("bitsandbytes", "bitsandbytes", "base_quantization: nf4 and int8 need")
