"""Continuous batching: requests of any adapters join and leave at every step, each as if it were alone."""

from itertools import count

import torch

from tenfold.adapters.bank import Bank
from tenfold.base.probe import settle
from tenfold.errors import ConfigError, QueueError
from tenfold.generate.batch import Batch
from tenfold.generate.draft import Draft
from tenfold.generate.event import Event, Stats
from tenfold.generate.grammar import Grammar
from tenfold.generate.request import Request, positions, require_room
from tenfold.generate.runner import Runner
from tenfold.generate.shared import Shared
from tenfold.generate.single import Single
from tenfold.generate.waiting import Waiting

CACHE_BYTES = 1 << 30


class Live:
    """The requests under way on a bank of a causal model. Not thread-safe: one thread owns it.

    max_rows: how many run at once. max_cache_bytes: what keys and values may take, with those kept for prompts that
    begin alike. max_waiting: how many may wait. prefill_tokens: of prompts in a step, so that a long prompt does not
    hold up the others. Adapters that a request names must stay in the bank until its last event.
    Raises ConfigError for a number out of its range and for a model of another family.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        max_rows: int = 64,
        max_cache_bytes: int = CACHE_BYTES,
        max_waiting: int = 1024,
        prefill_tokens: int = 512,
    ) -> None:
        limits = {"max_rows": max_rows, "max_waiting": max_waiting, "prefill_tokens": prefill_tokens}
        for name, value in limits.items():
            if value < 1:
                raise ConfigError(f"{name}: {value} is not allowed; it must be 1 or more")
        if bank.base.family != "causal":
            raise ConfigError(f"{bank.base.name} is a {bank.base.family} model; requests join causal ones only")
        self.bank, self.max_rows, self.max_cache_bytes = bank, max_rows, max_cache_bytes
        self.max_waiting, self.prefill_tokens = max_waiting, prefill_tokens
        shared = settle(bank.base).path == "shared"
        self._runner: Runner = Shared(bank, max_cache_bytes) if shared else Single(bank)
        self._batch = Batch(bank, self._runner, max_rows, prefill_tokens)
        self._numbers, self._waiting = count(), Waiting()
        self._known: dict[int, Draft] = {}
        self._steps = self._new = self._hits = self._prompts = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do and nothing to tell."""
        return not self._known

    def stats(self) -> Stats:
        """How it stands."""
        return Stats(
            waiting=len(self._waiting),
            running=len(self._batch),
            cache_bytes=self._runner.cache_bytes,
            max_cache_bytes=self.max_cache_bytes,
            prefix_bytes=self._runner.prefix_bytes,
            prefix_hit_tokens=self._hits,
            prompt_tokens=self._prompts,
            new_tokens=self._new,
            steps=self._steps,
        )

    def submit(self, request: Request, *, tenant: str = "") -> int:
        """Let a request wait for its turn -> its number. tenant: whose it is; tenants share nothing but the turns.

        Raises QueueError where max_waiting wait already, DataError for a prompt that fills the model's positions,
        AdapterError for an adapter that is not in the bank, ConfigError where the cache is too small for it.
        """
        number, base = next(self._numbers), self.bank.base
        if len(self._waiting) >= self.max_waiting:
            raise QueueError(f"{self.max_waiting} requests wait already; try again later")
        require_room(base, f"request {number}", len(request.prompt), 1)
        for name, _ in request.composition:
            self.bank.get(name)
        grammar = None if request.json is False else Grammar(base, request.json, request.eos)
        room = (positions(base) or len(request.prompt) + request.max_new_tokens) - len(request.prompt)
        draft = Draft(number, request, room, base.tokenizer, tenant, grammar)
        self._runner.require(draft)
        self._waiting.push(draft)
        self._known[number] = draft
        return number

    def cancel(self, number: int) -> None:
        """End a request; its last event comes with the next step. One that is not known or has ended stays as it is."""
        draft = self._known.get(number)
        if draft is None or draft.finish is not None:
            return
        if draft in self._waiting:
            self._waiting.remove(draft)
        draft.end("cancelled")

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One pass, over prompts or for the next token of all rows, by turns -> what requests got; [] when idle."""
        if self.idle:
            return []
        self._steps += 1
        self._batch.leave()
        with self._runner.running():
            self._batch.admit(self._waiting)
            self._batch.step()
        self._batch.leave()
        return self._tell()

    def _tell(self) -> list[Event]:
        """What is new of all requests; those that have ended are forgotten."""
        found = []
        for draft in [*self._known.values()]:
            if event := draft.event():
                found.append(event)
                self._new += len(event.tokens)
                self._waiting.charge(draft, len(event.tokens))
            if draft.finish:
                del self._known[draft.number]
                self._hits, self._prompts = self._hits + draft.hits, self._prompts + len(draft.prompt)
        if self.idle:
            self._waiting.forget()
        return found
