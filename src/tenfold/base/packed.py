"""Attention over packed rows in which the rows of a group share one copy of their prefix. Exact.

Each group is a block: P prefix tokens, then n rows of own tokens. Own tokens see the whole prefix and what
stands before them in their row; prefix tokens see the prefix. Only attention sees rows as rows: every
other layer runs over the packed tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from tenfold.base.attention import attend


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
class Block:
    """One group's place among the packed tokens.

    start: its first token. prefix: P. own: the number of own tokens.
    index (n * L,): the own token at each padded place (0 in the padding).
    inverse (own,): the padded place of each own token. valid (n, L): True off the padding.
    """

    start: int
    prefix: int
    own: int
    index: Tensor
    inverse: Tensor
    valid: Tensor
    masks: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls, start: int, prefix: int, spans: Sequence[range], device: torch.device) -> "Block":
        """spans: where each row's own tokens stand among all packed tokens, in order."""
        first = start + prefix
        lengths = torch.tensor([len(span) for span in spans])
        starts = torch.tensor([span.start - first for span in spans])
        steps = torch.arange(int(lengths.max()))
        valid = steps[None] < lengths[:, None]
        index = torch.where(valid, starts[:, None] + steps[None], 0).flatten()
        inverse = valid.flatten().nonzero()[:, 0]
        return cls(start, prefix, len(inverse), index.to(device), inverse.to(device), valid.to(device))

    def mask(self, window: int | None) -> Tensor:
        """(n, L, P + L), True where an own token sees a key. Padding sees itself, so that no row is empty."""
        if window not in self.masks:
            n, length = self.valid.shape
            positions = torch.arange(self.prefix + length, device=self.valid.device)
            distance = positions[self.prefix :, None] - positions[None]
            seen = (distance >= 0) & (distance < window) if window else distance >= 0
            real = torch.cat([self.valid.new_ones(n, self.prefix), self.valid], 1)
            self.masks[window] = seen[None] & real[:, None] | (distance == 0)[None]
        return self.masks[window]


@dataclass(frozen=True)
class PackedLayout:
    """The attention of one pass over packed blocks.

    keep: called with layer, block, and the block's keys and values (n, Hkv, P + L, D), for a cache.
    """

    blocks: list[Block]
    keep: Callable[[int, Block, Tensor, Tensor], None] | None = None

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
        for block in self.blocks:
            middle, stop = block.start + block.prefix, block.start + block.prefix + block.own
            q, k, v = (
                x[block.start : middle].transpose(0, 1)[None] for x in (query, key, value)
            )  # (1, H, P, D)
            if block.prefix:
                out.append(_attend_prefix(q, k, v, scale=scale, window=window, softcap=softcap))
            own_q, own_k, own_v = (x[middle:stop] for x in (query, key, value))
            own, keys, values = _attend_own(
                block, own_q, own_k, own_v, k, v, scale=scale, window=window, softcap=softcap
            )
            out.append(own)
            if self.keep:
                self.keep(layer, block, keys, values)
        return out[0] if len(out) == 1 else torch.cat(out)


def _attend_prefix(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, window: int | None, softcap: float | None
) -> Tensor:
    """The prefix among itself: (1, H, P, D) -> (P, H, D)."""
    length = q.shape[2]
    if window is None or length <= window:
        out = attend(q, k, v, mask=None, scale=scale, softcap=softcap, causal=True)
    else:
        positions = torch.arange(length, device=q.device)
        distance = positions[:, None] - positions[None]
        out = attend(
            q, k, v, mask=((distance >= 0) & (distance < window))[None], scale=scale, softcap=softcap
        )
    return out[0].transpose(0, 1)


def _attend_own(
    block: Block,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix_key: Tensor,
    prefix_value: Tensor,
    *,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Own tokens over prefix and row: (own, H, D) -> (own, H, D), and the keys and values (n, Hkv, P + L, D)."""
    n, length = block.valid.shape
    q, k, v = (_pad(x, block).view(n, length, *x.shape[1:]).transpose(1, 2) for x in (query, key, value))
    if block.prefix:
        k = torch.cat([prefix_key.expand(n, -1, -1, -1), k], 2)
        v = torch.cat([prefix_value.expand(n, -1, -1, -1), v], 2)
    plain = not block.prefix and block.own == n * length and (window is None or length <= window)
    if plain:
        out = attend(q, k, v, mask=None, scale=scale, softcap=softcap, causal=True)
    else:
        out = attend(q, k, v, mask=block.mask(window), scale=scale, softcap=softcap)
    out = out.transpose(1, 2).flatten(0, 1)  # (n * L, H, D)
    return (out if block.own == n * length else _Repack.apply(out, block.inverse)), k, v  # type: ignore[no-untyped-call]


def _pad(x: Tensor, block: Block) -> Tensor:
    if block.own == block.valid.numel():
        return x
    return _Unpack.apply(x, block.index, block.inverse)  # type: ignore[no-any-return, no-untyped-call]
