"""Rows of different adapters decoded together: prefill into free slots, then one pass a step for all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import frame_of
from tenfold.base.head import hidden_states, logits
from tenfold.generate.cache import Cache, DecodeLayout
from tenfold.generate.draft import Draft
from tenfold.generate.sampler import choose
from tenfold.generate.tree import TreeLayout, cut, grow

PREFILL = 2048  # tokens of a prefill pass


class Decoder:
    """The rows under way, each in a slot of the cache. Linear layers see living rows, sorted by adapter."""

    def __init__(self, bank: Bank, cache: Cache) -> None:
        self.bank, self.cache = bank, cache
        self.live: dict[int, Draft] = {}

    @property
    def free(self) -> int:
        """Slots without a row."""
        return self.cache.slots - len(self.live)

    def admit(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Run the prompts of up to ``free`` rows and choose first tokens; rows that end there come back."""
        drafts = sorted(drafts, key=lambda draft: (draft.composition, draft.prompt))
        empty = [slot for slot in range(self.cache.slots) if slot not in self.live]
        lines = [(draft.composition, draft.prompt) for draft in drafts]
        for part in cut(lines, PREFILL):
            slots = empty[part.start : part.stop]
            self._prefill([drafts[i] for i in part], slots)
        self.live = dict(sorted(self.live.items(), key=lambda item: (item[1].composition, item[0])))
        return self._leave()

    def step(self) -> list[Draft]:
        """One more token for every row; those that end come back, and leave."""
        drafts, device = list(self.live.values()), self.bank.base.device
        table = [[draft.tokens[-1], draft.position, slot] for slot, draft in self.live.items()]
        ids, at, slots = torch.tensor(table, device=device).T.contiguous()
        seen = max(position for _, position, _ in table) + 1
        layout = DecodeLayout(self.cache, slots, at, max(self.live) + 1, seen)
        with self.bank.use(frame_of((draft.composition, 1) for draft in drafts)):
            hidden = hidden_states(self.bank.base.model, ids[None], at[None], layout=layout)
        self._choose(hidden, drafts)
        return self._leave()

    def compact(self) -> None:
        """Move the rows together once less than half of the slots in use hold one."""
        if self.live and 2 * len(self.live) < max(self.live) + 1:
            slots = torch.tensor(list(self.live), device=self.bank.base.device)
            self.cache.move(slots, max(draft.position for draft in self.live.values()))
            self.live = dict(enumerate(self.live.values()))

    def _prefill(self, drafts: list[Draft], slots: list[int]) -> None:
        model, device = self.bank.base.model, self.bank.base.device
        tree = grow([(draft.composition, draft.prompt) for draft in drafts], device)
        places = torch.tensor(slots, device=device)

        def keep(layer: int, rows: Tensor, keys: Tensor, values: Tensor) -> None:
            self.cache.fill(layer, places[rows], keys, values)

        with self.bank.use(tree.frame):
            layout = TreeLayout(tree.buckets, keep)
            hidden = hidden_states(model, tree.input_ids, tree.position_ids, layout=layout)
        last = torch.tensor([path[-1] for path in tree.paths], device=device)
        self._choose(hidden[last], drafts)
        self.live |= zip(slots, drafts, strict=True)

    def _choose(self, hidden: Tensor, drafts: list[Draft]) -> None:
        with self.bank.use(frame_of((draft.composition, 1) for draft in drafts)):
            found = logits(self.bank.base, hidden)
        for draft, token in zip(drafts, choose(found, [d.chooser for d in drafts]), strict=True):
            draft.add(token)

    def _leave(self) -> list[Draft]:
        done = [draft for draft in self.live.values() if draft.finish]
        self.live = {slot: draft for slot, draft in self.live.items() if not draft.finish}
        return done
