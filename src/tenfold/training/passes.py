"""One forward and backward pass over micro-batches of one or several lanes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tenfold.adapters import Bank, Composition, Frame, frame
from tenfold.adapters.noise import StepNoise
from tenfold.base.head import forward
from tenfold.base.layout import Group, Row
from tenfold.base.model import Base, Path
from tenfold.base.pack import Pack, pack
from tenfold.base.probe import running
from tenfold.training.losses import backward


@dataclass(frozen=True)
class Part:
    """Rows of one feed of one lane.

    share: of each supervised token in the loss of the lane's optimizer step; one over their number where none weighs
        more than another.
    noise: (seed, step) of their dropout, None where nothing drops.
    """

    lane: int
    composition: Composition
    rows: Sequence[Row]
    share: float
    noise: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outcome:
    """Of one pass: what it contributes to each lane's loss, and how many tokens were run."""

    losses: dict[int, float]
    tokens: int


def run(bank: Bank, parts: Sequence[Part]) -> Outcome:
    """Add to every gradient what these parts contribute to the loss of their lane's step."""
    base = bank.base
    with running(base) as way:
        packed = _pack(parts, way.path, base)
        targets = packed.targets
        share = torch.tensor([part.share for part in parts], device=base.device)
        scale = targets.weight * share[targets.group]
        with bank.use(_frame(parts, packed)):
            losses = backward(bank, forward(base, packed), targets, scale, [part.composition for part in parts])
    sums = torch.zeros(len(parts), device=base.device).index_add_(0, targets.group, losses * scale)
    found: dict[int, float] = {}
    for part, total in zip(parts, sums.tolist(), strict=True):
        found[part.lane] = found.get(part.lane, 0.0) + total
    return Outcome(found, packed.tokens)


def _pack(parts: Sequence[Part], path: Path, base: Base) -> Pack:
    groups = [Group(part.rows, share=part.noise is None) for part in parts]
    return pack(groups, path, base.device, pad=base.pad)


def _frame(parts: Sequence[Part], packed: Pack) -> Frame:
    noise = [
        part.noise and StepNoise(*part.noise, rows=_lengths(packed.rows, span))
        for part, span in zip(parts, packed.spans, strict=True)
    ]
    return frame(packed, [part.composition for part in parts], training=True, noise=noise)


def _lengths(rows: list[tuple[int, int, int]], span: tuple[int, int]) -> list[tuple[int, int]]:
    """(length, key) of the rows in a span."""
    return [(stop - start, key) for start, stop, key in rows if span[0] <= start < span[1]]
