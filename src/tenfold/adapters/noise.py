"""Dropout whose masks belong to (adapter, step, row, layer): neighbours, resuming, recomputation can't change them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepNoise:
    """The random numbers of one segment in one optimizer step.

    seed, step: of the run and of the adapter's own count. rows: (length, key) of each row, in order; their
    lengths add up to the segment's (padded rows are one line each, of as many tokens as the module sees). names: what
    adapters are drawn for as, where that is not what the bank calls them.
    """

    seed: int
    step: int
    rows: Sequence[tuple[int, int]]
    names: Mapping[str, str] = field(default_factory=dict)

    def at(self, adapter: str, layer: str) -> "LayerNoise":
        """Those of one adapter on one layer."""
        return LayerNoise(self, f"{self.seed}/{self.names.get(adapter, adapter)}/{self.step}/{layer}")


@dataclass(frozen=True)
class LayerNoise:
    """``Dropout`` for one adapter on one layer."""

    step: StepNoise
    name: str

    def drop(self, x: Tensor, p: float) -> Tensor:
        """x (T, D) with elements zeroed with probability p, the rest scaled by 1 / (1 - p)."""
        each = len(x) // sum(length for length, _ in self.step.rows)
        keep = [self._uniform(length * each, key, x) >= p for length, key in self.step.rows]
        return x * torch.cat(keep) / (1 - p)

    def _uniform(self, length: int, key: int, x: Tensor) -> Tensor:
        digest = hashlib.blake2b(f"{self.name}/{key}".encode(), digest_size=8).digest()
        generator = torch.Generator(x.device).manual_seed(int.from_bytes(digest, "little") >> 1)
        return torch.rand(length, x.shape[-1], generator=generator, device=x.device)
