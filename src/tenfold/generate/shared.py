"""The fast way: rows of all adapters packed into one pass, over slots of a cache; what prompts share is kept."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import Frame, frame_of
from tenfold.adapters.stacks import Stacks
from tenfold.base.head import hidden_states
from tenfold.base.probe import running
from tenfold.errors import ConfigError
from tenfold.generate import layouts, prefix
from tenfold.generate.cache import Cache, Seat, measure
from tenfold.generate.draft import Draft
from tenfold.generate.layouts import CacheLayout
from tenfold.generate.prefix import BLOCK, Prefixes
from tenfold.generate.runner import Piece


@dataclass
class _Row:
    """A draft that is placed. chain: the keys of its whole blocks; stored: how many of them it has handed on."""

    seat: Seat
    root: bytes
    chain: list[bytes] = field(default_factory=list)
    stored: int = 0


class Shared:
    """Runs rows in slots of the cache. See ``Runner``."""

    def __init__(self, bank: Bank, max_bytes: int) -> None:
        self.bank, self.max_bytes = bank, max_bytes
        with running(bank.base), torch.inference_mode():
            self.cache = Cache(measure(bank.base), max_bytes, bank.base.device)
        self.prefixes = Prefixes(BLOCK * self.cache.each)
        self.stacks = Stacks(bank)
        self._rows: dict[int, _Row] = {}
        self._claimed: set[bytes] = set()

    @property
    def cache_bytes(self) -> int:
        """Of slots and blocks."""
        return self.cache.bytes + self.prefixes.held

    @property
    def prefix_bytes(self) -> int:
        """Of blocks."""
        return self.prefixes.held

    @contextmanager
    def running(self) -> Iterator[None]:
        """The base's own way, with the machine's faster products."""
        with running(self.bank.base), self.bank.swift():
            yield

    def require(self, draft: Draft) -> None:
        """Its tokens must fit when it is alone."""
        needed = draft.length * self.cache.each
        if needed > self.max_bytes:
            raise ConfigError(
                f"max_cache_bytes: {self.max_bytes} does not hold one request of {draft.length} tokens; "
                f"{self.bank.base.name} needs at least {needed}"
            )

    def place(self, draft: Draft) -> bool:
        """A slot; blocks of the prefix cache go where it needs their bytes."""
        seat, missing = self.cache.take(draft.length, self.max_bytes - self.prefixes.held)
        if seat is None and missing <= self.prefixes.held:
            self.prefixes.shrink(self.prefixes.held - missing)
            seat, _ = self.cache.take(draft.length, self.max_bytes - self.prefixes.held)
        if seat is None:
            return False
        row = self._rows[draft.number] = _Row(seat, prefix.root(self.bank, draft))
        prefix.extend(row.chain, row.root, draft.prompt)
        return True

    def release(self, draft: Draft) -> None:
        """Blocks of its answer are kept, for what goes on from there."""
        row = self._rows.pop(draft.number, None)
        if row is None:
            return
        tokens = (draft.prompt + draft.tokens)[: draft.position] if draft.tokens else draft.prompt[: draft.filled]
        if draft.finish != "error":
            prefix.extend(row.chain, row.root, tokens)
            self._store(row, len(tokens))
        self.cache.release(row.seat, wipe=draft.finish == "error")

    def claim(self, draft: Draft) -> bool:
        """Take what the prefix cache has by now; wait where this pass computes the next block for another."""
        row = self._rows[draft.number]
        if draft.filled % BLOCK:
            return True
        mine = row.chain[draft.filled // BLOCK : (len(draft.prompt) - 1) // BLOCK]  # the last token is always run
        found = self.prefixes.find(mine)
        if found:
            draft.filled = row.seat.shelf.fill(row.seat.slot, draft.filled, found)
            row.stored = draft.filled // BLOCK
            draft.hits += len(found) * BLOCK
        following = mine[len(found) : len(found) + 1]
        if self._claimed.intersection(following):
            return False
        self._claimed.update(following)
        return True

    def prefill(self, pieces: Sequence[Piece]) -> Tensor:
        """See ``Runner``. Whole blocks are kept, but of rows in which something is not a number."""
        self._claimed.clear()
        lengths = [piece.stop - piece.start for piece in pieces]
        rows = [self._rows[piece.draft.number] for piece in pieces]
        spots = [(row.seat, piece.start, piece.stop) for row, piece in zip(rows, pieces, strict=True)]
        tokens = [(piece.draft.prompt[at], at) for piece in pieces for at in range(piece.start, piece.stop)]
        frame = frame_of((piece.draft.composition, n) for piece, n in zip(pieces, lengths, strict=True))
        hidden = self._pass(tokens, frame, layouts.pieces(spots, self.bank.base.device))
        for row, piece, part in zip(rows, pieces, torch.split(hidden, lengths), strict=True):
            if part.isfinite().all():
                self._store(row, piece.stop)
        return hidden[torch.tensor(lengths, device=hidden.device).cumsum(0) - 1]

    def decode(self, drafts: Sequence[Draft]) -> Tensor:
        """See ``Runner``."""
        order, frame = self.stacks.arrange([draft.composition for draft in drafts])
        arranged = [drafts[i] for i in order]
        spots = [(self._rows[draft.number].seat, draft.position, draft.position + 1) for draft in arranged]
        tokens = [(draft.tokens[-1], draft.position) for draft in arranged]
        hidden = self._pass(tokens, frame, layouts.steps(spots, self.bank.base.device))
        return torch.empty_like(hidden).index_copy_(0, torch.tensor(order, device=hidden.device), hidden)

    def _pass(self, tokens: Sequence[tuple[int, int]], frame: Frame, layout: CacheLayout) -> Tensor:
        """Tokens with their positions -> hidden states (T, D)."""
        ids, positions = torch.tensor(tokens, device=self.bank.base.device).T.contiguous()
        with self.bank.use(frame):
            return hidden_states(self.bank.base.model, ids[None], positions[None], layout=layout)

    def _store(self, row: _Row, tokens: int) -> None:
        """Hand on the whole blocks among a row's first tokens, where there is room."""
        for i in range(row.stored, tokens // BLOCK):
            row.stored, key = i + 1, row.chain[i]
            if key not in self.prefixes:
                self.prefixes.shrink(self.max_bytes - self.cache.bytes - self.prefixes.block_bytes)
                if self.cache_bytes + self.prefixes.block_bytes > self.max_bytes:
                    return
                self.prefixes.keep(key, row.seat.shelf.copy(row.seat.slot, i * BLOCK, (i + 1) * BLOCK))
