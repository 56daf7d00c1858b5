"""One forward and backward pass over micro-batches of one or several lanes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tenfold.adapters import Bank, Composition, frame
from tenfold.adapters.noise import StepNoise
from tenfold.base.head import forward
from tenfold.base.layout import Group, Row
from tenfold.base.pack import pack
from tenfold.base.probe import settle
from tenfold.training.losses import backward


@dataclass(frozen=True)
class Part:
    """Rows of one feed of one lane.

    tokens: how many supervised tokens the lane's whole optimizer step has; the loss is their mean.
    noise: (seed, step) of their dropout, None where nothing drops.
    """

    lane: int
    composition: Composition
    rows: Sequence[Row]
    tokens: int
    noise: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outcome:
    """Of one pass: the sum of losses over each lane's supervised tokens, and how many tokens were run."""

    losses: dict[int, float]
    tokens: int


def run(bank: Bank, parts: Sequence[Part]) -> Outcome:
    """Add to every gradient what these parts contribute to the mean loss of their lane's step."""
    base = bank.base
    groups = [Group(part.rows, share=part.noise is None) for part in parts]
    packed = pack(groups, settle(base).path, base.device, pad=base.tokenizer.pad_token_id or 0)
    noise = [part.noise and StepNoise(*part.noise, rows=_lengths(packed.rows, packed.spans[i], packed.path == "padded"))
             for i, part in enumerate(parts)]  # fmt: skip
    targets = packed.targets
    share = torch.tensor([1 / part.tokens for part in parts], device=base.device)
    used = frame(packed, [part.composition for part in parts], training=True, noise=noise)
    with bank.use(used):
        losses = backward(base, forward(base, packed), targets, targets.weight * share[targets.group])
    sums = torch.zeros(len(parts), device=base.device).index_add_(0, targets.group, losses * targets.weight)
    found: dict[int, float] = {}
    for part, total in zip(parts, sums.tolist(), strict=True):
        found[part.lane] = found.get(part.lane, 0.0) + total
    return Outcome(found, packed.tokens)


def _lengths(rows: list[tuple[int, int, int]], span: tuple[int, int], padded: bool) -> list[tuple[int, int]]:
    """(length, key) of the rows in a span; padded rows reach to where the next one starts."""
    own = [row for row in rows if span[0] <= row[0] < span[1]]
    ends = [start for start, _, _ in own[1:]] + [span[1]] if padded else [stop for _, stop, _ in own]
    return [(end - start, key) for (start, _, key), end in zip(own, ends, strict=True)]
