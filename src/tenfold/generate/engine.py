"""Requests in, completions out: what evaluation and a server share."""

from collections.abc import Sequence

import torch

from tenfold.adapters.bank import Bank
from tenfold.base.probe import running
from tenfold.errors import ConfigError
from tenfold.generate.classify import classify
from tenfold.generate.draft import Draft
from tenfold.generate.event import Answer
from tenfold.generate.live import CACHE_BYTES, Live
from tenfold.generate.paired import complete_pairs
from tenfold.generate.request import Completion, Request, positions, require_room
from tenfold.generate.sampler import choose
from tenfold.progress import SILENT, Progress, Task

PREFILL = 2048  # tokens of prompts in a pass; nobody waits for the first token here


class Engine:
    """Decodes requests of any adapters together, each as if it were alone.

    max_rows: how many at once. max_cache_bytes: what the keys and values of those may take (default 1 GiB).
    """

    def __init__(self, bank: Bank, *, max_rows: int = 64, max_cache_bytes: int = CACHE_BYTES) -> None:
        if max_rows < 1:
            raise ConfigError(f"max_rows: {max_rows} is not allowed; it must be 1 or more")
        self.bank, self.max_rows, self.max_cache_bytes = bank, max_rows, max_cache_bytes

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Completion]:
        """Answer requests; the completions stand in their order.

        A request's greedy tokens are what it gets alone, but where its two best logits are as close as float
        arithmetic in another order can move them. Raises DataError for a prompt that fills the model's
        positions, AdapterError for an adapter that is not in the bank, ConfigError where the cache is too
        small for one request, ModelError where one fails.
        """
        if self.bank.base.family == "classification":
            return self._classes(requests, progress)
        if not requests:
            return []
        with progress.start("generating", len(requests), "requests") as task:
            return (self._paired if self.bank.base.family == "seq2seq" else self._together)(requests, task)

    def _classes(self, requests: Sequence[Request], progress: Progress) -> list[Completion]:
        """The likeliest class of each text, or one that is drawn."""
        found = classify(self.bank, [(request.prompt, request.composition) for request in requests], progress)
        chosen = [
            choose(torch.tensor([values]), [(r.sampling, torch.Generator().manual_seed(r.sampling.seed))])[0]
            for values, r in zip(found, requests, strict=True)
        ]
        return [Completion([], request.choice(one), "eos") for request, one in zip(requests, chosen, strict=True)]

    def _paired(self, requests: Sequence[Request], task: Task) -> list[Completion]:
        """Sources of like length together, of all adapters."""
        drafts = [self._draft(i, request) for i, request in enumerate(requests)]
        waiting = sorted(drafts, key=lambda draft: len(draft.prompt))
        with running(self.bank.base):
            for start in range(0, len(waiting), self.max_rows):
                part = waiting[start : start + self.max_rows]
                complete_pairs(self.bank, part)
                task.advance(len(part))
        return [draft.completion() for draft in drafts]

    def _draft(self, number: int, request: Request) -> Draft:
        base = self.bank.base
        require_room(base, f"request {number}", len(request.prompt), 1)
        for name, _ in request.composition:
            self.bank.get(name)
        room = (positions(base) or 1 + request.max_new_tokens) - 1  # a decoder begins with its start token
        return Draft(number, request, room, base.tokenizer)

    def _together(self, requests: Sequence[Request], task: Task) -> list[Completion]:
        """All that come in one by one, and leave when they are done."""
        live = Live(
            self.bank, max_rows=self.max_rows, max_cache_bytes=self.max_cache_bytes, max_waiting=len(requests),
            prefill_tokens=PREFILL,
        )  # fmt: skip
        answers = [Answer() for _ in requests]
        for request in requests:
            live.submit(request)
        while not live.idle:
            for event in live.step():
                answers[event.number].add(event)
                task.advance(event.finish is not None)
        return [answer.completion() for answer in answers]
