"""Which base model this is, told by its weights and not by its name."""

import hashlib

import torch
from torch import Tensor, nn

SAMPLE = 4096


def fingerprint(model: nn.Module) -> str:
    """The sha256 hex digest of a model's float weights.

    It takes, in the order of their names, every float parameter's name, shape and up to 4096 values
    at even distances, rounded to bfloat16. Tied weights count once.

    fp32 and bf16 loads of one checkpoint agree, on every device. An fp16 load agrees too where the
    checkpoint's values fit fp16 (those of a bf16 checkpoint do, but for magnitudes below 2**-14);
    an fp32 checkpoint that was rounded to fp16 may not. What it cannot see: a change that touches
    none of the sampled values of any tensor, or moves none of them to another bfloat16 (relative
    distance 2**-8). Training moves thousands of values per tensor; an edit of one value made by
    hand can be missed.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters(), key=lambda pair: pair[0]):
        if weight.is_floating_point():
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(_sample(weight.detach()))
    return digest.hexdigest()


def _sample(weight: Tensor) -> bytes:
    """Up to SAMPLE values from the first to the last at even distances, as bfloat16 bytes."""
    flat = weight.reshape(-1)
    count = min(len(flat), SAMPLE)
    places = torch.arange(count, device=flat.device) * (len(flat) - 1) // max(count - 1, 1)
    return flat[places].to(torch.bfloat16).cpu().view(torch.int16).numpy().astype("<i2").tobytes()
