"""What stands at a frozen module and runs the adapters on it, for the frame of the current pass."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tenfold.adapters._base import Adapter, Layer
from tenfold.adapters.composition import Frame, Segment
from tenfold.adapters.fused import Update, add, linear
from tenfold.base.weights import plain_weight

Forward = Callable[[Tensor], Tensor]
Part = tuple[str, Adapter, float]


class Host:
    """Takes the place of a frozen module's ``forward``; the module itself and its names stay as they are.

    adapters: by name, those on this layer. frame: gives the current pass, None outside of one.
    """

    def __init__(self, layer: Layer, module: nn.Module, frame: Callable[[], Frame | None]) -> None:
        self.layer, self.module, self.frame = layer, module, frame
        self.adapters: dict[str, Adapter] = {}
        self.frozen: Forward = module.forward
        self._own = module.__dict__.get("forward")  # one that a hook has put there
        module.forward = self

    def close(self) -> None:
        """Give the module the forward back that it had."""
        del self.module.forward
        if self._own is not None:
            self.module.forward = self._own

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D_in) -> (..., D_out); the leading dimensions are the frame's tokens."""
        frame = self.frame()
        segments = self._segments(frame) if frame else []
        if not frame or not segments:
            return self.frozen(x)
        flat = x.reshape(-1, x.shape[-1])
        updates = self._updates(segments, frame.training)
        out = None if updates is None else self._fused(flat, updates)
        out = self._plain(flat, segments) if out is None else out
        return out.view(*x.shape[:-1], out.shape[-1])

    def _segments(self, frame: Frame) -> list[tuple[Segment, list[Part]]]:
        """The segments that use an adapter of this layer, with those adapters."""
        found = []
        for segment in frame.segments:
            parts = [(n, self.adapters[n], w) for n, w in segment.composition if n in self.adapters]
            if parts and segment.stop > segment.start:
                found.append((segment, parts))
        return found

    def _updates(self, segments: list[tuple[Segment, list[Part]]], training: bool) -> list[Update] | None:
        """All of it as low-rank updates where it is that, else None."""
        updates = []
        for segment, parts in segments:
            for _, adapter, weight in parts:
                product = None if adapter.transforms else adapter.low_rank(training)
                if product is None:
                    return None
                updates.append(Update(segment.start, segment.stop, product, weight))
        return updates

    def _fused(self, x: Tensor, updates: list[Update]) -> Tensor | None:
        """The updates in place; None where gradients are wanted through a layer that is not plain and frozen."""
        if not torch.is_grad_enabled():
            return add(x, self.frozen(x), updates)
        weight = plain_weight(self.module)
        if weight is None or weight.requires_grad:
            return None
        return linear(x, weight, self.module.bias, updates)  # type: ignore[arg-type]

    def _plain(self, x: Tensor, segments: list[tuple[Segment, list[Part]]]) -> Tensor:
        """The contract as it reads: transforms in order, the frozen module once for all, then the deltas."""
        pieces, at = [], 0
        for segment, parts in segments:
            part = x[segment.start : segment.stop]
            for _, adapter, weight in parts:
                if adapter.transforms:
                    part = part + weight * (adapter.transform(part) - part)
            pieces += [x[at : segment.start], part]
            at = segment.stop
        x = torch.cat([*pieces, x[at:]])
        y = self.frozen(x)
        pieces, at = [], 0
        for segment, parts in segments:
            here = slice(segment.start, segment.stop)
            total = y[here]
            for name, adapter, weight in parts:
                if adapter.adds:
                    dropout = segment.noise.at(name, self.layer.name) if segment.noise else None
                    total = total + weight * adapter.delta(x[here], y[here], self.module, dropout)
            pieces += [y[at : segment.start], total]
            at = segment.stop
        return torch.cat([*pieces, y[at:]])
