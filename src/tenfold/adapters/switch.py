"""What stands at a module of which adapters have copies of their own, and sends each row through the right one."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.adapters.composition import Composition, Frame


class Switch:
    """Takes the place of a module's ``forward``; rows without a copy of their own pass through the module itself.

    copies: by adapter. Where several adapters of a composition have one, the last counts, in full.
    """

    def __init__(self, module: nn.Module, frame: Callable[[], Frame | None]) -> None:
        self.module, self.frame = module, frame
        self.copies: dict[str, nn.Module] = {}
        self.frozen: Callable[..., Tensor] = module.forward
        self._own = module.__dict__.get("forward")
        module.forward = self

    def close(self) -> None:
        """Give the module the forward back that it had."""
        del self.module.forward
        if self._own is not None:
            self.module.forward = self._own

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """x: token ids or hidden states, (1, T, ...) where the frame counts tokens, (B, ...) where it counts lines."""
        frame = self.frame()
        chosen = [(s, copy) for s in frame.segments if (copy := self._choose(s.composition))] if frame else []
        if not frame or not chosen:
            return self.frozen(x, *args, **kwargs)
        along, pieces, at = (0 if frame.lines else 1), [], 0
        for segment, copy in chosen:
            stop = min(segment.stop, x.shape[along])
            pieces.append(self._run(self.frozen, _cut(x, along, at, segment.start), args, kwargs))
            pieces.append(self._copied(copy, _cut(x, along, segment.start, stop), args, kwargs))
            at = stop
        pieces.append(self._run(self.frozen, _cut(x, along, at, x.shape[along]), args, kwargs))
        return _join([piece for piece in pieces if piece is not None], along)

    def _choose(self, composition: Composition) -> nn.Module | None:
        own = [self.copies[name] for name, _ in composition if name in self.copies]
        return own[-1] if own else None

    def _run(self, forward: Callable[..., Tensor], x: Tensor | None, args: Any, kwargs: Any) -> Tensor | None:
        return None if x is None else forward(x, *args, **kwargs)

    def _copied(self, copy: nn.Module, x: Tensor | None, args: Any, kwargs: Any) -> Tensor | None:
        """Through a copy, in its own float type; what comes out is of the type that came in (of tokens: the base's)."""
        if x is None:
            return None
        own, frozen = (next(module.parameters()).dtype for module in (copy, self.module))
        floats = x.is_floating_point()
        out = copy(x.to(own) if floats else x, *args, **kwargs)
        return out.to(x.dtype if floats else frozen)  # type: ignore[no-any-return]


def _cut(x: Tensor, along: int, start: int, stop: int) -> Tensor | None:
    return x.narrow(along, start, stop - start) if stop > start else None


def _join(pieces: list[Tensor], along: int) -> Tensor:
    """Heads with fewer classes than others give minus infinity for what they don't have."""
    if len(pieces) == 1:
        return pieces[0]
    width = max(piece.shape[-1] for piece in pieces)
    return torch.cat([F.pad(piece, (0, width - piece.shape[-1]), value=float("-inf")) for piece in pieces], along)
