"""Which tokens of a forward pass use which adapters: explicit, and alive until its backward has ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from torch import Tensor

from tenfold.adapters.noise import StepNoise
from tenfold.base.pack import Pack

Composition = tuple[tuple[str, float], ...]
"""Adapters with their weights, in order. Empty is the base."""

BASE: Composition = ()


def compose(*parts: str | tuple[str, float]) -> Composition:
    """``compose("a", ("b", 0.5))`` is adapter a in full and b at half weight."""
    return tuple((part, 1.0) if isinstance(part, str) else part for part in parts)


@dataclass(frozen=True)
class Segment:
    """Tokens [start, stop) of a pass (or lines, see ``Frame``) and what they use.

    noise: their random numbers, in training with dropout.
    """

    start: int
    stop: int
    composition: Composition
    noise: StepNoise | None = field(default=None, compare=False)


class Together(Protocol):
    """Updates of many compositions at once."""

    def add(self, layer: str, given: Tensor, x: Tensor, y: Tensor) -> None:
        """Add a layer's updates to y (T, D_out) in place. given: its input, x (T, D_in): the same, flat."""
        ...


@dataclass(frozen=True)
class Frame:
    """One forward pass as the hosts see it: segments in order, without overlap; the rest is the base's.

    training: whether gradients will be asked for, and dropout applies.
    lines: where rows are padded, how many there are: segments then count lines, whatever the number of tokens
        of each is in a module's input (an encoder's and a decoder's differ).
    stacked: updates of tokens that are in no segment, done together (see ``adapters.stacks``).
    """

    segments: Sequence[Segment]
    training: bool = False
    lines: int | None = None
    stacked: Together | None = None

    def scale(self, tokens: int) -> int:
        """How many of a module's input tokens one unit of the segments is."""
        return tokens // self.lines if self.lines else 1


def frame(
    pack: Pack,
    compositions: Sequence[Composition],
    *,
    training: bool = False,
    noise: Sequence[StepNoise | None] = (),
) -> Frame:
    """The frame of a pass: one composition (and in training its random numbers) for each of its groups."""
    noises = noise or [None] * len(pack.spans)
    parts = zip(pack.spans, compositions, noises, strict=True)
    segments = [Segment(start, stop, composition, n) for (start, stop), composition, n in parts]
    return Frame(segments, training, pack.lines)


def frame_of(lengths: Iterable[tuple[Composition, int]], *, training: bool = False, lines: int | None = None) -> Frame:
    """The frame of rows that stand in order of composition, each with its number of tokens (or lines)."""
    segments, start = [], 0
    for composition, rows in groupby(lengths, lambda row: row[0]):
        stop = start + sum(n for _, n in rows)
        if composition and stop > start:
            segments.append(Segment(start, stop, composition))
        start = stop
    return Frame(segments, training, lines)
