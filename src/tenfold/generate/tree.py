"""Rows laid out as a tree of tokens: what rows have in common is computed once, at any depth. Exact.

Rows stand in order, so that neighbours share most. Each row adds the tokens in which it differs from the row
before it; its path says where among the packed tokens all of its tokens stand. A template shared by all rows,
a prompt shared by its options and a row given twice are all the same thing here. For passes without gradients
(training has ``base.packed``, whose backward pass is sparing too).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from tenfold.adapters.composition import Composition, Frame, frame_of
from tenfold.base.attention import attend, fold

Line = tuple[Composition, Sequence[int]]
"""The composition and the tokens of one row."""
GATHERED = 8  # keys that a pass may gather for its rows, as a multiple of its own tokens


@dataclass(frozen=True)
class Bucket:
    """Rows that add about the same number of tokens, and so pad well.

    whole: they share nothing.
    paths (n, L): where each of their tokens stands; 0 in the padding.
    starts (n,): position of the first own token. queries (n * W,): the own tokens; 0 in the padding.
    inverse (own,): padded place of each own token, own (own,): where it stands.
    """

    whole: bool
    paths: Tensor
    starts: Tensor
    queries: Tensor
    inverse: Tensor
    own: Tensor
    masks: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

    def mask(self, window: int | None, share: int, dtype: torch.dtype) -> Tensor:
        """Which keys (L) an own token sees, folded for ``attend``. Padding sees something, and is not used."""
        if window not in self.masks:
            n, length = self.paths.shape
            steps = torch.arange(len(self.queries) // n, device=self.paths.device)
            at = (self.starts[:, None] + steps).clamp(max=length - 1)
            distance = at[..., None] - torch.arange(length, device=self.paths.device)
            seen = distance >= 0
            self.masks[window] = fold(seen & (distance < window) if window else seen, share, dtype)
        return self.masks[window]


@dataclass(frozen=True)
class TreeLayout:
    """``Layout`` of a pass over a tree."""

    buckets: list[Bucket]

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """See ``Layout.attend``."""
        out = query.new_empty(*query.shape[:2], value.shape[-1])
        for bucket in self.buckets:
            n, length = bucket.paths.shape
            k, v = (x[bucket.paths].transpose(1, 2) for x in (key, value))
            q = query[bucket.queries].view(n, -1, *query.shape[1:]).transpose(1, 2)
            plain = bucket.whole and (window is None or length <= window)
            mask = None if plain else bucket.mask(window, query.shape[1] // key.shape[1], query.dtype)
            found = attend(q, k, v, mask=mask, scale=scale, softcap=softcap, causal=plain)
            out[bucket.own] = found.transpose(1, 2).flatten(0, 1)[bucket.inverse]
        return out


@dataclass(frozen=True)
class Tree:
    """One pass. input_ids, position_ids (1, T). paths: for each row, where each of its tokens stands."""

    input_ids: Tensor
    position_ids: Tensor
    paths: list[list[int]]
    buckets: list[Bucket]
    frame: Frame


def grow(lines: Sequence[Line], device: torch.device) -> Tree:
    """Lay rows out; neighbours of one composition share what they begin with."""
    tokens: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    own: list[int] = []
    for i, line in enumerate(lines):
        row, shared = line[1], common(lines[i - 1], line) if i else 0
        paths.append((paths[-1][:shared] if shared else []) + [*range(len(tokens), len(tokens) + len(row) - shared)])
        tokens += row[shared:]
        positions += range(shared, len(row))
        own.append(len(row) - shared)
    ids, at = (torch.tensor(x, device=device)[None] for x in (tokens, positions))
    segments = frame_of((composition, n) for (composition, _), n in zip(lines, own, strict=True))
    return Tree(ids, at, paths, _buckets(paths, own, device), segments)


def common(a: Line, b: Line) -> int:
    """How many tokens two rows begin with together; 0 under different compositions."""
    if a[0] != b[0]:
        return 0
    shared = 0
    for x, y in zip(a[1], b[1], strict=False):
        if x != y:
            break
        shared += 1
    return shared


def cut(lines: Sequence[Line], most: int) -> Iterator[range]:
    """Rows in order, as passes of at most so many tokens (but at least one row)."""
    start, tokens, gathered = 0, 0, 0
    for i, line in enumerate(lines):
        own = len(line[1]) - (common(lines[i - 1], line) if i > start else 0)
        if i > start and (tokens + own > most or gathered + len(line[1]) > GATHERED * most):
            yield range(start, i)
            start, tokens, gathered, own = i, 0, 0, len(line[1])
        tokens, gathered = tokens + own, gathered + len(line[1])
    if lines:
        yield range(start, len(lines))


def _buckets(paths: list[list[int]], own: list[int], device: torch.device) -> list[Bucket]:
    """Rows whose number of own tokens has as many binary digits: padding less than doubles it."""
    by_size = sorted(range(len(paths)), key=lambda i: (max(own[i], 1).bit_length(), i))
    groups = groupby(by_size, lambda i: max(own[i], 1).bit_length())
    return [_bucket([*rows], paths, own, device) for _, rows in groups]


def _bucket(rows: list[int], paths: list[list[int]], own: list[int], device: torch.device) -> Bucket:
    length = max(len(paths[i]) for i in rows)
    width = max(1, *(own[i] for i in rows))
    starts = torch.tensor([len(paths[i]) - own[i] for i in rows])
    table = torch.tensor([paths[i] + [0] * (length - len(paths[i])) for i in rows])
    whole, steps = not starts.any(), torch.arange(width)
    valid = steps < torch.tensor([own[i] for i in rows])[:, None]
    places = (starts[:, None] + steps).clamp(max=length - 1)
    queries = torch.where(valid, table.gather(1, places), 0).flatten()
    inverse = valid.flatten().nonzero()[:, 0]
    tensors = (table, starts, queries, inverse, queries[inverse])
    table, starts, queries, inverse, places = (x.to(device) for x in tensors)
    return Bucket(whole, table, starts, queries, inverse, places)
