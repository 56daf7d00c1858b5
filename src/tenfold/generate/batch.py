"""The rows under way: which come in, whose prompts are run, and one more token for all."""

from collections.abc import Callable, Sequence
from itertools import groupby

from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import frame_of
from tenfold.base.head import logits
from tenfold.generate.advance import advance, fail
from tenfold.generate.draft import Draft
from tenfold.generate.runner import Piece, Runner
from tenfold.generate.waiting import Waiting

Pass = Callable[[Sequence[Draft]], Tensor]


class Batch:
    """filling: rows whose prompts are not all run yet, the oldest first. running: those that get a token a step."""

    def __init__(self, bank: Bank, runner: Runner, max_rows: int, prefill_tokens: int) -> None:
        self.bank, self.runner = bank, runner
        self.max_rows, self.prefill_tokens = max_rows, prefill_tokens
        self.filling: list[Draft] = []
        self.running: list[Draft] = []
        self._filled_last = False

    def __len__(self) -> int:
        return len(self.filling) + len(self.running)

    def admit(self, waiting: Waiting) -> None:
        """Let rows in while there is room, in the order of their turns; one that doesn't fit yet is waited for."""
        while len(self) < self.max_rows and (draft := waiting.first()) and self.runner.place(draft):
            waiting.remove(draft)
            waiting.charge(draft, len(draft.prompt))
            self.filling.append(draft)

    def step(self) -> list[Draft]:
        """One pass: over prompts, or for the next token of all that run, by turns -> the drafts that it was for."""
        pieces = [] if self._filled_last and self.running else self._pieces()
        self._filled_last = bool(pieces)
        drafts = [piece.draft for piece in pieces] or sorted(self.running, key=_order)
        if pieces:
            self._prefill({piece.draft.number: piece for piece in pieces}, sorted(drafts, key=_order))
        elif drafts:
            self._try(drafts, self.runner.decode)
        return drafts

    def leave(self) -> list[Draft]:
        """Take out those that have ended, and give back their room -> them."""
        gone = [draft for draft in self.filling + self.running if draft.finish is not None]
        for draft in gone:
            self.runner.release(draft)
        self.running = [draft for draft in self.running if draft.finish is None]
        self.filling = [draft for draft in self.filling if draft.finish is None]
        return gone

    def _pieces(self) -> list[Piece]:
        """What of whose prompt is run next: the oldest gets half of the pass, then the shortest go first."""
        if not self.filling:
            return []
        rest = sorted(self.filling[1:], key=_left)
        spare = self.prefill_tokens - sum(map(_left, rest))
        shares = {self.filling[0].number: max(spare, (self.prefill_tokens + 1) // 2)}
        pieces, budget = list[Piece](), self.prefill_tokens
        for draft in (self.filling[0], *rest):
            if budget and self.runner.claim(draft):
                size = min(_left(draft), budget, shares.get(draft.number, budget))
                pieces.append(Piece(draft, draft.filled, draft.filled + size))
                budget -= size
        return pieces

    def _prefill(self, pieces: dict[int, Piece], drafts: list[Draft]) -> None:
        before = {draft.number: draft.filled for draft in drafts}

        def run(some: Sequence[Draft]) -> Tensor:
            hidden = self.runner.prefill([pieces[draft.number] for draft in some])
            for draft in some:
                draft.filled = pieces[draft.number].stop
            return hidden

        self._try(drafts, run)
        assert all(draft.finish or draft.filled > before[draft.number] for draft in drafts)
        self.running += [draft for draft in self.filling if not _left(draft)]
        self.filling = [draft for draft in self.filling if _left(draft)]

    def _try(self, drafts: Sequence[Draft], run: Pass) -> None:
        """Run a pass, and choose a token for each row whose prompt is through.

        Where the pass fails, the rows of each composition are tried apart: only those that fail alone are at fault.
        """
        try:
            hidden = run(drafts)
            through = [i for i, draft in enumerate(drafts) if not _left(draft)]
            chosen = [drafts[i] for i in through]
            if chosen:
                with self.bank.use(frame_of((draft.composition, 1) for draft in chosen)):
                    values = logits(self.bank.base, hidden if len(chosen) == len(drafts) else hidden[through])
                advance(values, chosen)
        except Exception as error:  # noqa: BLE001  what one adapter does must not end the others' requests
            self._apart(drafts, run, error)

    def _apart(self, drafts: Sequence[Draft], run: Pass, error: Exception) -> None:
        parts = [[*part] for _, part in groupby(drafts, lambda draft: draft.composition)]
        for part in parts:
            if len(parts) > 1:
                self._try(part, run)
        for draft in drafts if len(parts) == 1 else ():
            fail(draft, error)


def _left(draft: Draft) -> int:
    """How many tokens of its prompt are still to be run."""
    return len(draft.prompt) - draft.filled


def _order(draft: Draft) -> tuple[object, ...]:
    return draft.composition, draft.number
