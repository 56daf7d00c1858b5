"""Rows laid out as one forward pass: shared prefixes, packed, or padded.

``Pack.spans`` says which tokens (padded: which lines) belong to which group, ``Pack.targets`` which hidden
state predicts which supervised token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from tenfold.base.layout import Group, Row
from tenfold.base.model import Path
from tenfold.base.packed import Block, PackedLayout


@dataclass(frozen=True)
class Targets:
    """The K supervised tokens of a pass, or the labels of its rows.

    hidden (K,): index of the hidden state that predicts the token, among the flattened tokens; for a label the
        number of its line. token (K,): the token, or the label.
    weight (K,): how many rows it counts for (more than one in a shared prefix).
    row (K,): number of its row among all rows of the pass, -1 in a shared prefix. group (K,): its group.
    """

    hidden: Tensor
    token: Tensor
    weight: Tensor
    row: Tensor
    group: Tensor

    def __len__(self) -> int:
        return len(self.token)


@dataclass(frozen=True)
class Pack:
    """One forward pass over groups of rows.

    input_ids, position_ids (B, L): B is 1 unless padded. attention_mask (B, L) where padded, else None.
    spans: [start, stop) of each group among the flattened tokens; where padded, among the lines.
    rows: (start, stop, key) of each row's own tokens (padded: line), for its random numbers.
    lines: B where padded, else None. source_ids, source_mask (B, S): what an encoder reads before.
    """

    path: Path
    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor | None
    layout: PackedLayout | None
    spans: list[tuple[int, int]]
    rows: list[tuple[int, int, int]]
    targets: Targets
    lines: int | None = None
    source_ids: Tensor | None = None
    source_mask: Tensor | None = None

    @property
    def tokens(self) -> int:
        """How many tokens pass through the model, padding included."""
        return self.input_ids.numel()


def common_prefix(rows: Sequence[Row]) -> int:
    """How many tokens all rows begin with, flags included; every row keeps at least one of its own."""
    if len(rows) < 2:
        return 0
    first, last = min(rows, key=lambda r: list(r.tokens)), max(rows, key=lambda r: list(r.tokens))
    limit = min(len(row.tokens) for row in rows) - 1
    shared = 0
    while shared < limit and first.tokens[shared] == last.tokens[shared]:
        shared += 1
    flags = list(rows[0].supervised[:shared])
    for row in rows[1:]:
        while list(row.supervised[:shared]) != flags:
            shared -= 1
            flags = flags[:shared]
    return shared


class _Sheet:
    """Collects tokens, positions and targets while groups are laid out."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.targets: list[tuple[int, int, int, int, int]] = []

    def add(self, row: Row, start: int, stop: int, before: int, weight: int, number: int, group: int) -> range:
        """Lay tokens [start, stop) of a row; ``before`` is the index of the hidden state that predicts the first."""
        at = len(self.tokens)
        self.tokens += row.tokens[start:stop]
        self.positions += range(start, stop)
        for i in range(max(start, 1), stop):
            if row.supervised[i]:
                hidden = before if i == start else at + i - start - 1
                self.targets.append((hidden, row.tokens[i], weight, number, group))
        return range(at, len(self.tokens))


def pack(groups: Sequence[Group], path: Path, device: torch.device | str, *, pad: int = 0, split: bool = True) -> Pack:
    """Lay groups out for one pass. split: whether attention pads rows of very different lengths apart.

    Raises ValueError on an empty group or row: a caller's mistake.
    """
    if not groups or not all(group.rows and all(row.tokens for row in group.rows) for group in groups):
        raise ValueError("nothing to pack: every group needs rows and every row needs tokens")
    if path == "padded":
        return _padded(groups, torch.device(device), pad)
    sheet, spans, rows, blocks, number = _Sheet(), [], [], [], 0
    for g, group in enumerate(groups):
        begin = len(sheet.tokens)
        prefix = common_prefix(group.rows) if group.share and path == "shared" else 0
        sheet.add(group.rows[0], 0, prefix, -1, len(group.rows), -1, g)
        own = []
        for row in group.rows:
            span = sheet.add(row, prefix, len(row.tokens), begin + prefix - 1, 1, number, g)
            own.append(len(span))
            rows.append((span.start, span.stop, row.key))
            number += 1
        spans.append((begin, len(sheet.tokens)))
        blocks.append(Block.make(begin, prefix, own, torch.device(device), split=split))
    layout = PackedLayout(blocks) if path == "shared" else None
    ids, positions = (torch.tensor(x, device=device)[None] for x in (sheet.tokens, sheet.positions))
    return Pack(path, ids, positions, None, layout, spans, rows, _targets(sheet, device))


def _targets(sheet: _Sheet, device: torch.device | str) -> Targets:
    table = torch.tensor(sheet.targets, device=device, dtype=torch.long).reshape(-1, 5)
    return Targets(table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4])


def _padded(groups: Sequence[Group], device: torch.device, pad: int) -> Pack:
    """Rows as lines of a rectangle, padded on the right."""
    lines = [(row, g) for g, group in enumerate(groups) for row in group.rows]
    ids, mask = _rectangle([row.tokens for row, _ in lines], pad, device)
    width, sheet = ids.shape[1], _Sheet()
    for i, (row, g) in enumerate(lines):
        if row.label is not None:
            sheet.targets.append((i, row.label, 1, i, g))
        else:
            sheet.targets += [(i * width + t - 1, row.tokens[t], 1, i, g) for t in row.predicted]
    sources = [row.source for row, _ in lines]
    source_ids, source_mask = _rectangle(sources, pad, device) if any(sources) else (None, None)
    ends = [0, *accumulate(len(group.rows) for group in groups)]
    return Pack(
        "padded", ids, torch.arange(width, device=device).expand(len(lines), -1), mask, None, list(pairwise(ends)),
        [(i, i + 1, row.key) for i, (row, _) in enumerate(lines)], _targets(sheet, device), lines=len(lines),
        source_ids=source_ids, source_mask=source_mask,
    )  # fmt: skip


def _rectangle(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens (B, L) padded on the right, and which of them are no padding (B, L)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return ids.to(device), mask.to(device)
