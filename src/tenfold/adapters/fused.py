"""A frozen linear layer and what adapters do to its segments as one step: in place, once.

The plain way (``Adapter.delta``) makes a tensor for each segment and joins them; here each update goes
straight into the frozen layer's output, and in the backward pass into the gradient. Same sums, fewer copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.adapters._base import LowRank, Scaled


@dataclass(frozen=True)
class Update:
    """A low-rank update for tokens [start, stop), times a weight, or one with a factor on the whole output."""

    start: int
    stop: int
    change: LowRank | Scaled
    weight: float = 1.0

    @property
    def product(self) -> LowRank | None:
        """The low-rank part, if there is one."""
        return self.change.product if isinstance(self.change, Scaled) else self.change

    @property
    def tensors(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """A, B and the factor."""
        product, scaled = self.product, isinstance(self.change, Scaled)
        factor = self.change.factor if isinstance(self.change, Scaled) else None
        assert not scaled or self.weight == 1, "a factor by weight is no factor"
        return (product.a, product.b, factor) if product else (None, None, factor)

    @property
    def scale(self) -> float:
        """Of the low-rank product."""
        return self.product.scale * self.weight if self.product else 0.0

    @property
    def here(self) -> slice:
        """Its tokens."""
        return slice(self.start, self.stop)

    def free(self, bias: Tensor | None) -> Tensor | None:
        """The bias where the factor is not on it."""
        return bias if isinstance(self.change, Scaled) and not self.change.bias else None


def add(x: Tensor, y: Tensor, bias: Tensor | None, updates: Sequence[Update]) -> Tensor:
    """y (T, D_out), the frozen layer's, with each update of x (T, D_in) in place. For passes without gradients."""
    for update in updates:
        a, b, factor = update.tensors
        part = y[update.here]
        if a is not None and b is not None:
            part.addmm_(x[update.here] @ a.to(x.dtype).T, b.to(x.dtype).T, alpha=update.scale)
        if factor is not None:
            _scale(part, factor.to(y.dtype), update.free(bias))
    return y


def _scale(part: Tensor, factor: Tensor, bias: Tensor | None) -> None:
    """part * factor in place; of a bias that is in the part, and not to be scaled, what is missing is added."""
    part.mul_(factor)
    if bias is not None:
        part.add_(bias * (1 - factor))


class _Fused(torch.autograd.Function):
    """y = x W^T + bias; then y[s] += scale * (x[s] A^T) B^T and y[s] *= factor, for each update that has such.

    W and bias get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, updates: Sequence[Update], *given: Tensor | None
    ) -> Tensor:
        y = F.linear(x, weight, bias)
        lows: list[Tensor | None] = []
        befores: list[Tensor | None] = []
        for i, update in enumerate(updates):
            a, b, factor = given[3 * i : 3 * i + 3]
            part, low, before = y[update.here], None, None
            if a is not None and b is not None:
                low = x[update.here] @ a.to(x.dtype).T
                part.addmm_(low, b.to(x.dtype).T, alpha=update.scale)
            if factor is not None:
                before, y, part = _set_aside(y, part)
                _scale_from(before, part, factor.to(y.dtype), update.free(bias))
            lows.append(low)
            befores.append(before)
        ctx.save_for_backward(x, weight, bias, *given, *lows, *befores)
        ctx.updates = updates
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, *rest = ctx.saved_tensors
        n = len(ctx.updates)
        given, lows, befores = rest[: 3 * n], rest[3 * n : 4 * n], rest[4 * n :]
        inner, factors = _unscaled(grad, bias, ctx.updates, given[2::3], befores)
        grad_x = inner @ weight if ctx.needs_input_grad[0] else None
        out: list[Tensor | None] = []
        for i, update in enumerate(ctx.updates):
            a, b, _ = given[3 * i : 3 * i + 3]
            wants = ctx.needs_input_grad[4 + 3 * i : 7 + 3 * i]
            grad_a = grad_b = None
            if a is not None:
                part = inner[update.here]
                grad_low = part @ b.to(part.dtype) * update.scale
                if grad_x is not None:
                    grad_x[update.here].addmm_(grad_low, a.to(part.dtype))
                grad_a = (grad_low.T @ x[update.here]).to(a.dtype) if wants[0] else None
                grad_b = (part.T @ lows[i] * update.scale).to(b.dtype) if wants[1] else None
            out += [grad_a, grad_b, factors[i] if wants[2] else None]
        return grad_x, None, None, None, *out


def _set_aside(y: Tensor, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a part of y is before its factor -> it, y and its part to write the scaled one into."""
    if len(part) < len(y):
        return part.clone(), y, part
    new = torch.empty_like(y)
    return part, new, new


def _scale_from(before: Tensor, part: Tensor, factor: Tensor, bias: Tensor | None) -> None:
    torch.mul(before, factor, out=part)
    if bias is not None:
        part.add_(bias * (1 - factor))


def _unscaled(
    grad: Tensor,
    bias: Tensor | None,
    updates: Sequence[Update],
    factors: Sequence[Tensor | None],
    befores: Sequence[Tensor | None],
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradient of what is behind the factors -> that of what is before them, and those of the factors."""
    inner, found = grad, list[Tensor | None]()
    for update, factor, before in zip(updates, factors, befores, strict=True):
        if factor is None or before is None:
            found.append(None)
            continue
        part = grad[update.here]
        own = (part * before).sum(0)
        free = update.free(bias)
        found.append((own if free is None else own - free * part.sum(0)).to(factor.dtype))
        if len(part) == len(grad):
            inner = grad * factor.to(grad.dtype)
        else:
            inner = inner.clone() if inner is grad else inner
            inner[update.here].mul_(factor.to(grad.dtype))
    return inner, found


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, updates: Sequence[Update]) -> Tensor:
    """x (T, D_in) through a frozen weight (D_out, D_in) and the updates -> (T, D_out), with gradients."""
    if (factor := _only_factor(x, updates)) is not None:  # torch's own product has less around it
        return F.linear(x, weight, bias) * factor.to(x.dtype)
    given = [tensor for update in updates for tensor in update.tensors]
    return _Fused.apply(x, weight, bias, updates, *given)  # type: ignore[no-any-return, no-untyped-call]


def _only_factor(x: Tensor, updates: Sequence[Update]) -> Tensor | None:
    """The factor where there is nothing else, and it is on all that comes out of the layer."""
    first = updates[0]
    if len(updates) > 1 or first.start > 0 or first.stop < len(x) or not isinstance(first.change, Scaled):
        return None
    return first.change.factor if first.change.bias and first.change.product is None else None
