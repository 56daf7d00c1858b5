"""A frozen linear layer and the low-rank updates of many segments as one step: added in place, once.

The plain way (``Adapter.delta``) makes a tensor for each segment and joins them; here each update goes
straight into the frozen layer's output, and in the backward pass into the gradient. Same sums, fewer copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.adapters._base import LowRank


@dataclass(frozen=True)
class Update:
    """A low-rank update for tokens [start, stop), times a weight."""

    start: int
    stop: int
    product: LowRank
    weight: float

    @property
    def scale(self) -> float:
        """Of the whole product."""
        return self.product.scale * self.weight


def add(x: Tensor, y: Tensor, updates: Sequence[Update]) -> Tensor:
    """y (T, D_out) with each update of x (T, D_in) added in place. For passes without gradients."""
    for update in updates:
        low = x[update.start : update.stop] @ update.product.a.to(x.dtype).T
        y[update.start : update.stop].addmm_(low, update.product.b.to(x.dtype).T, alpha=update.scale)
    return y


class _Fused(torch.autograd.Function):
    """y = x W^T + bias, and y[s] += scale * (x[s] A^T) B^T for each update; W and bias get no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        spans: list[tuple[int, int, float]],
        *ab: Tensor,
    ) -> Tensor:
        y = F.linear(x, weight, bias)
        lows = []
        for (start, stop, scale), a, b in zip(spans, ab[::2], ab[1::2], strict=True):
            low = x[start:stop] @ a.to(x.dtype).T
            y[start:stop].addmm_(low, b.to(x.dtype).T, alpha=scale)
            lows.append(low)
        ctx.save_for_backward(x, weight, *ab, *lows)
        ctx.spans = spans
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *rest = ctx.saved_tensors
        n = len(ctx.spans)
        ab, lows = rest[: 2 * n], rest[2 * n :]
        grad_x = grad @ weight if ctx.needs_input_grad[0] else None
        out: list[Tensor | None] = []
        for i, (start, stop, scale) in enumerate(ctx.spans):
            a, b, part = ab[2 * i], ab[2 * i + 1], grad[start:stop]
            grad_low = part @ b.to(part.dtype) * scale
            if grad_x is not None:
                grad_x[start:stop].addmm_(grad_low, a.to(part.dtype))
            wants_a, wants_b = ctx.needs_input_grad[4 + 2 * i], ctx.needs_input_grad[5 + 2 * i]
            out.append((grad_low.T @ x[start:stop]).to(a.dtype) if wants_a else None)
            out.append((part.T @ lows[i] * scale).to(b.dtype) if wants_b else None)
        return grad_x, None, None, None, *out


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, updates: Sequence[Update]) -> Tensor:
    """x (T, D_in) through a frozen weight (D_out, D_in) and the updates -> (T, D_out), with gradients."""
    spans = [(u.start, u.stop, u.scale) for u in updates]
    return _Fused.apply(x, weight, bias, spans, *(t for u in updates for t in (u.product.a, u.product.b)))  # type: ignore[no-any-return, no-untyped-call]
