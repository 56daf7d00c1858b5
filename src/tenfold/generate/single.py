"""The slow way, for models that packed attention can't take: each row with transformers' own cache."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import Frame, Segment
from tenfold.base.head import backbone
from tenfold.generate.draft import Draft
from tenfold.generate.runner import Piece


class Single:
    """Runs one row at a time. Its rows take memory as transformers' caches do; only their number is limited."""

    cache_bytes = prefix_bytes = 0

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._caches: dict[int, Any] = {}
        self._last: dict[int, tuple[int, Tensor | Exception]] = {}  # where each row's last pass ended, and its outcome

    def running(self) -> AbstractContextManager[object]:
        """The model as it is."""
        return nullcontext()

    def require(self, draft: Draft) -> None:
        """Any request has room."""

    def place(self, draft: Draft) -> bool:
        """There is always room."""
        self._caches[draft.number] = None
        return True

    def release(self, draft: Draft) -> None:
        """Forget a row."""
        self._caches.pop(draft.number, None)
        self._last.pop(draft.number, None)

    def claim(self, draft: Draft) -> bool:
        """No row waits for what another computes."""
        return True

    def prefill(self, pieces: Sequence[Piece]) -> Tensor:
        """See ``Runner``."""
        return torch.stack([self._run(p.draft, p.draft.prompt[p.start : p.stop], p.start) for p in pieces])

    def decode(self, drafts: Sequence[Draft]) -> Tensor:
        """See ``Runner``."""
        return torch.stack([self._run(draft, draft.tokens[-1:], draft.position) for draft in drafts])

    def _run(self, draft: Draft, tokens: list[int], start: int) -> Tensor:
        """Tokens behind the first ``start`` of a row -> the hidden state (D,) of the last.

        A pass that is run again, because another row failed in it, has its outcome already.
        """
        stop, outcome = self._last.get(draft.number, (0, None))
        if outcome is None or stop != start + len(tokens):
            try:
                outcome = self._forward(draft, tokens, start)
            except Exception as error:  # noqa: BLE001  kept, since its cache may be half written
                outcome = error
            self._last[draft.number] = start + len(tokens), outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _forward(self, draft: Draft, tokens: list[int], start: int) -> Tensor:
        device = self.bank.base.device
        segments = [Segment(0, sys.maxsize, draft.composition)] if draft.composition else []
        with self.bank.use(Frame(segments)):
            out = backbone(self.bank.base.model)(
                input_ids=torch.tensor([tokens], device=device),
                attention_mask=torch.ones(1, start + len(tokens), dtype=torch.long, device=device),
                past_key_values=self._caches[draft.number],
                use_cache=True,
            )
        self._caches[draft.number] = out.past_key_values
        return out.last_hidden_state[0, -1]  # type: ignore[no-any-return]
