"""Attention over packed rows in which the rows of a group share one copy of their prefix. Exact.

Each group is a block: P prefix tokens, then n rows of own tokens. Own tokens see the whole prefix and what
stands before them in their row; prefix tokens see the prefix. Only attention sees rows as rows: every
other layer runs over the packed tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from tenfold.base.attention import attend, fold


class _Unpack(torch.autograd.Function):
    """(T, H, D) packed -> (n * L, H, D) padded. What stands in the padding is never seen: its gradient is zero."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse = inverse  # type: ignore[attr-defined]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.inverse), None, None  # type: ignore[attr-defined]


class _Repack(torch.autograd.Function):
    """(n * L, H, D) padded -> (T, H, D) packed."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, inverse: Tensor) -> Tensor:
        ctx.inverse, ctx.length = inverse, len(x)  # type: ignore[attr-defined]
        return x.index_select(0, inverse)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        padded = gradient.new_zeros(ctx.length, *gradient.shape[1:])  # type: ignore[attr-defined]
        return padded.index_copy_(0, ctx.inverse, gradient), None  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Bucket:
    """Rows of one group that attention pads to one length.

    rows: their numbers in the group. offset: where they begin among the group's padded places.
    valid (n, L): True off the padding. prefix: P.
    """

    rows: list[int]
    offset: int
    valid: Tensor
    prefix: int
    masks: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

    @property
    def full(self) -> bool:
        """Nothing is padded and there is no prefix: plain causal attention."""
        return not self.prefix and bool(self.valid.all())

    def mask(self, window: int | None, share: int, dtype: torch.dtype) -> Tensor:
        """Which keys (P + L) an own token sees, folded for ``attend``: (n, 1, share * L, P + L), made once a pass.

        Padding sees itself, so that no row is empty.
        """
        if window not in self.masks:
            n, length = self.valid.shape
            positions = torch.arange(self.prefix + length, device=self.valid.device)
            distance = positions[self.prefix :, None] - positions[None]
            seen = (distance >= 0) & (distance < window) if window else distance >= 0
            real = torch.cat([self.valid.new_ones(n, self.prefix), self.valid], 1)
            self.masks[window] = fold(seen[None] & real[:, None] | (distance == 0)[None], share, dtype)
        return self.masks[window]


@dataclass(frozen=True)
class Block:
    """One group's place among the packed tokens.

    start: its first token. prefix: P. own: the number of own tokens, in all rows.
    index (M,): the own token at each padded place, bucket after bucket (0 in the padding).
    inverse (own,): the padded place of each own token.
    """

    start: int
    prefix: int
    own: int
    index: Tensor
    inverse: Tensor
    buckets: list[Bucket]

    @classmethod
    def make(cls, start: int, prefix: int, lengths: Sequence[int], device: torch.device, *, split: bool) -> "Block":
        """lengths: own tokens of each row, which follow each other. split: into buckets, where that saves work."""
        starts = [0, *accumulate(lengths)]
        index, buckets, offset = [], [], 0
        for rows in _buckets(lengths, prefix, OVERHEAD[device.type == "cpu"]) if split else [list(range(len(lengths)))]:
            own = torch.tensor([lengths[i] for i in rows])
            steps = torch.arange(int(own.max()))
            valid = steps[None] < own[:, None]
            index.append(
                torch.where(valid, torch.tensor([starts[i] for i in rows])[:, None] + steps[None], -1).flatten()
            )
            buckets.append(Bucket(rows, offset, valid.to(device), prefix))
            offset += valid.numel()
        places = torch.cat(index)
        inverse = torch.empty(starts[-1], dtype=torch.long)
        inverse[places[places >= 0]] = (places >= 0).nonzero()[:, 0]
        return cls(start, prefix, starts[-1], places.clamp(min=0).to(device), inverse.to(device), buckets)


# What one more call of attention costs, in scores (own token, key): measured on a CPU; a GPU wants few large calls.
OVERHEAD = {True: 4_000, False: 1_000_000}


def _buckets(lengths: Sequence[int], prefix: int, overhead: int) -> list[list[int]]:
    """Rows by length, cut where the padding saved is worth another call: the cheapest cut, by dynamic programming."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    best: list[tuple[int, int]] = [(0, 0)]  # cost of the first j rows, start of their last bucket
    for stop in range(1, len(order) + 1):
        longest = lengths[order[stop - 1]]
        cost = longest * (prefix + longest)
        best.append(min((best[start][0] + (stop - start) * cost + overhead, start) for start in range(stop)))
    cut, stop = [], len(order)
    while stop:
        cut.append(sorted(order[best[stop][1] : stop]))
        stop = best[stop][1]
    return cut[::-1]


@dataclass(frozen=True)
class PackedLayout:
    """The attention of one pass over packed blocks."""

    blocks: list[Block]

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
        out = []
        rule = Rule(scale, window, softcap)
        for block in self.blocks:
            middle, stop = block.start + block.prefix, block.start + block.prefix + block.own
            q, k, v = (x[block.start : middle].transpose(0, 1)[None] for x in (query, key, value))  # (1, H, P, D)
            if block.prefix:
                out.append(_attend_prefix(q, k, v, rule))
            own_q, own_k, own_v = (_pad(x[middle:stop], block) for x in (query, key, value))
            pieces = []
            for bucket in block.buckets:
                keys, values = _keys(bucket, own_k, k), _keys(bucket, own_v, v)
                pieces.append(_attend_own(bucket, own_q, keys, values, rule))
            out.append(_repack(pieces, block))
        return out[0] if len(out) == 1 else torch.cat(out)


@dataclass(frozen=True)
class Rule:
    """How scores become weights: see ``Layout.attend``."""

    scale: float
    window: int | None
    softcap: float | None


def _attend_prefix(q: Tensor, k: Tensor, v: Tensor, rule: Rule) -> Tensor:
    """The prefix among itself: (1, H, P, D) -> (P, H, D)."""
    length = q.shape[2]
    if rule.window is None or length <= rule.window:
        out = attend(q, k, v, mask=None, scale=rule.scale, softcap=rule.softcap, causal=True)
    else:
        positions = torch.arange(length, device=q.device)
        distance = positions[:, None] - positions[None]
        mask = ((distance >= 0) & (distance < rule.window))[None]
        out = attend(q, k, v, mask=mask, scale=rule.scale, softcap=rule.softcap)
    return out[0].transpose(0, 1)


def _pad(x: Tensor, block: Block) -> Tensor:
    """Own tokens (own, H, D) -> padded places (M, H, D)."""
    if len(block.buckets) == 1 and block.own == len(block.index):
        return x
    return _Unpack.apply(x, block.index, block.inverse)  # type: ignore[no-any-return, no-untyped-call]


def _repack(pieces: list[Tensor], block: Block) -> Tensor:
    """Padded places, bucket by bucket -> own tokens (own, H, D)."""
    if len(pieces) == 1 and block.own == len(block.index):
        return pieces[0]
    return _Repack.apply(torch.cat(pieces), block.inverse)  # type: ignore[no-any-return, no-untyped-call]


def _rows(bucket: Bucket, x: Tensor) -> Tensor:
    """Padded places (M, H, D) -> the bucket's rows (n, H, L, D)."""
    n, length = bucket.valid.shape
    return x[bucket.offset : bucket.offset + n * length].view(n, length, *x.shape[1:]).transpose(1, 2)


def _keys(bucket: Bucket, x: Tensor, prefix: Tensor) -> Tensor:
    """Keys or values of a bucket's rows behind those of the prefix (1, Hkv, P, D) -> (n, Hkv, P + L, D)."""
    own = _rows(bucket, x)
    return torch.cat([prefix.expand(len(own), -1, -1, -1), own], 2) if bucket.prefix else own


def _attend_own(bucket: Bucket, query: Tensor, keys: Tensor, values: Tensor, rule: Rule) -> Tensor:
    """A bucket's own tokens over prefix and row -> (n * L, H, D)."""
    q = _rows(bucket, query)
    if bucket.full and (rule.window is None or q.shape[2] <= rule.window):
        out = attend(q, keys, values, mask=None, scale=rule.scale, softcap=rule.softcap, causal=True)
    else:
        mask = bucket.mask(rule.window, q.shape[1] // keys.shape[1], q.dtype)
        out = attend(q, keys, values, mask=mask, scale=rule.scale, softcap=rule.softcap)
    return out.transpose(1, 2).flatten(0, 1)
