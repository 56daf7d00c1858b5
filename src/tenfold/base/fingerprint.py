"""Which base model this is, told by its weights and not by its name."""

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor, nn

from tenfold.base.families import within

SAMPLE = 4096


def fingerprint(model: nn.Module, without: Collection[str] = ()) -> str:
    """The sha256 hex digest of a model's float weights, but for those of the modules in ``without``.

    It takes, in the order of their names, every float parameter's name, shape and up to 4096 values
    at even distances, rounded to bfloat16, and to 0 where they are not above 2**-16. Tied weights
    count once.

    fp32 and bf16 loads of one checkpoint agree, on every device, and so do fp16 loads of a bf16 or
    fp16 checkpoint; an fp32 checkpoint that is rounded to fp16 does not. What it cannot see: a change
    that moves no sampled value of any tensor to another bfloat16 (about 0.4 percent). Training moves
    thousands of values in every matrix; an edit of one value by hand can be missed.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters(), key=lambda pair: pair[0]):
        if weight.is_floating_point() and not within(name, without):
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(_sample(weight.detach()))
    return digest.hexdigest()


def _sample(weight: Tensor) -> bytes:
    """Up to SAMPLE values from the first to the last at even distances, as rounded bytes."""
    flat = weight.reshape(-1)
    count = min(len(flat), SAMPLE)
    places = torch.arange(count, device=flat.device) * (len(flat) - 1) // max(count - 1, 1)
    values = flat[places].to(torch.bfloat16)
    values = torch.where(values.abs() > 2**-16, values, 0)  # what fp16 cannot hold to 8 bits
    return values.cpu().view(torch.int16).numpy().astype("<i2").tobytes()
