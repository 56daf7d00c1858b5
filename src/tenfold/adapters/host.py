"""What stands at a frozen module and runs the adapters on it, for the frame of the current pass."""

import types
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tenfold.adapters._base import Adapter, Layer
from tenfold.adapters.composition import Frame, Segment
from tenfold.adapters.fused import Update, add, linear
from tenfold.base.products import Product
from tenfold.base.weights import plain_weight
from tenfold.errors import AdapterError

Forward = Callable[[Tensor], Tensor]
Part = tuple[str, Adapter, float]
Used = tuple[Segment, list[Part]]


class Host:
    """Takes the place of a frozen module's ``forward``; the module itself and its names stay as they are.

    adapters: by name, those on this layer. frame: gives the current pass, None outside of one. product: takes the
    place of the module's own for a while (see ``Bank.swift``).
    """

    def __init__(self, layer: Layer, module: nn.Module, frame: Callable[[], Frame | None]) -> None:
        self.layer, self.module, self.frame = layer, module, frame
        self.adapters: dict[str, Adapter] = {}
        self.product: Product | None = None
        own = module.__dict__.get("forward")  # one that a hook has put there
        self._own: Forward | None = None if isinstance(own, Product) else own
        self._frozen: Forward = self._own or types.MethodType(type(module).forward, module)
        module.forward = self

    @property
    def frozen(self) -> Forward:
        """What the module does without adapters."""
        return self.product if self.product and not self._own else self._frozen

    def close(self) -> None:
        """Give the module the forward back that it had."""
        del self.module.forward
        if self._own is not None:
            self.module.forward = self._own

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D_in) -> (..., D_out); the leading dimensions are the frame's tokens."""
        frame = self.frame()
        if frame is None:
            return self.frozen(x)
        flat = x.reshape(-1, x.shape[-1])
        segments = self._segments(frame, frame.scale(len(flat))) if frame.segments else []
        out = self._adapted(flat, segments, frame, x.shape[:-1]) if segments else self.frozen(x)
        if frame.stacked:
            frame.stacked.add(self.layer.name, x, flat, out.view(-1, out.shape[-1]))
        return out.view(*x.shape[:-1], out.shape[-1])

    def _adapted(self, x: Tensor, segments: list[Used], frame: Frame, lead: torch.Size) -> Tensor:
        """x (T, D_in) with what the segments use -> (T, D_out)."""
        x = _transformed(x, segments)
        updates = self._updates(segments, frame.training)
        out = None if updates is None else self._fused(x, updates, lead)
        return self._plain(x, segments, lead) if out is None else out

    def _segments(self, frame: Frame, scale: int) -> list[Used]:
        """The segments, in tokens, that use an adapter of this layer, with those adapters."""
        found = []
        for one in frame.segments:
            parts = [(n, self.adapters[n], w) for n, w in one.composition if n in self.adapters]
            if parts and one.stop > one.start:
                segment = one if scale == 1 else replace(one, start=one.start * scale, stop=one.stop * scale)
                found.append((segment, parts))
        return found

    def _updates(self, segments: list[Used], training: bool) -> list[Update] | None:
        """All that is added, as updates in place where it is that, else None."""
        updates = []
        for segment, parts in segments:
            adding = [(adapter, weight) for _, adapter, weight in parts if adapter.adds]
            for adapter, weight in adding:
                alone = len(adding) == 1 and weight == 1
                change = adapter.low_rank(training) or (adapter.scaled(self.module, training) if alone else None)
                if change is None:
                    return None
                updates.append(Update(segment.start, segment.stop, change, weight))
        return updates

    def _fused(self, x: Tensor, updates: list[Update], lead: torch.Size) -> Tensor | None:
        """The updates in place; None where gradients are wanted through a layer that is not plain and frozen."""
        if not updates:
            return self._through(x, lead)
        if not torch.is_grad_enabled():
            return add(x, self._through(x, lead), self.module.bias, updates)  # type: ignore[arg-type]
        weight = plain_weight(self.module)
        if weight is None or weight.requires_grad:
            return None
        return linear(x, weight, self.module.bias, updates)  # type: ignore[arg-type]

    def _plain(self, x: Tensor, segments: list[Used], lead: torch.Size) -> Tensor:
        """The contract as it reads: the frozen module once for all, then the deltas."""
        y = self._through(x, lead)
        inputs = _pieces(x, segments)
        found = [
            self._added(before, after, used) if used else after
            for (before, used), (after, _) in zip(inputs, _pieces(y, segments), strict=True)
        ]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _through(self, x: Tensor, lead: torch.Size) -> Tensor:
        """x (T, D_in) through the frozen module -> (T, D_out); a whole MLP sees the leading dimensions too."""
        if not self.layer.mlp:
            return self.frozen(x)
        y = self.frozen(x.view(*lead, x.shape[-1]))
        if not isinstance(y, Tensor) or y.shape != (*lead, self.layer.d_out):
            given = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise AdapterError(f"{self.layer.name} gives {given}, not one tensor like its input: no MLP for an adapter")
        return y.reshape(-1, self.layer.d_out)

    def _added(self, x: Tensor, y: Tensor, used: Used) -> Tensor:
        """A segment's y (T, D_out) with the deltas."""
        (segment, parts), total = used, y
        for name, adapter, weight in parts:
            if adapter.adds:
                dropout = segment.noise.at(name, self.layer.name) if segment.noise else None
                total = torch.add(total, adapter.delta(x, y, self.module, dropout), alpha=weight)
        return total


def _transformed(x: Tensor, segments: list[Used]) -> Tensor:
    """x (T, D_in) with each segment's transforms, in order."""
    if not any(adapter.transforms for _, parts in segments for _, adapter, _ in parts):
        return x
    found = []
    for before, used in _pieces(x, segments):
        part = before
        for _, adapter, weight in used[1] if used else ():
            if adapter.transforms:
                after = adapter.transform(part)
                part = after if weight == 1 else torch.lerp(part, after, weight)
        found.append(part)
    return found[0] if len(found) == 1 else torch.cat(found)


def _pieces(x: Tensor, segments: list[Used]) -> list[tuple[Tensor, Used | None]]:
    """x (T, D) cut at the segments, once, so that the backward pass joins once; with each what it uses."""
    users: list[Used | None] = []
    lengths, at = [], 0
    for used in segments:
        start, stop = used[0].start, min(used[0].stop, len(x))
        users += [None, used] if start > at else [used]
        lengths += [start - at, stop - start] if start > at else [stop - start]
        at = stop
    if at < len(x):
        users.append(None)
        lengths.append(len(x) - at)
    return list(zip([x] if len(lengths) == 1 else torch.split(x, lengths), users, strict=True))
