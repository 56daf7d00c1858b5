"""Requests in, completions out: what evaluation and a server share."""

from collections.abc import Iterator, Sequence

import torch

from tenfold.adapters.bank import Bank
from tenfold.base.probe import running
from tenfold.errors import ConfigError
from tenfold.generate.cache import Cache, bytes_per_position, measure
from tenfold.generate.classify import classify
from tenfold.generate.decoder import Decoder
from tenfold.generate.draft import Draft
from tenfold.generate.paired import complete_pairs
from tenfold.generate.plain import complete
from tenfold.generate.request import Completion, Request, positions, require_room
from tenfold.generate.sampler import choose
from tenfold.progress import SILENT, Progress

CACHE_BYTES = 1 << 30
REFILL = 4  # waiting rows come in once one in so many slots is free: prompts that run together share


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
        small for one request.
        """
        if self.bank.base.family == "classification":
            return self._classes(requests, progress)
        drafts = [self._draft(i, request) for i, request in enumerate(requests)]
        if not drafts:
            return []
        with (
            running(self.bank.base) as way,
            progress.start("generating", len(drafts), "requests") as task,
        ):
            paired = self.bank.base.family == "seq2seq"
            run = self._paired if paired else self._together if way.path == "shared" else self._one_by_one
            for done in run(drafts):
                task.advance(len(done))
        return [draft.completion() for draft in drafts]

    def _classes(self, requests: Sequence[Request], progress: Progress) -> list[Completion]:
        """The likeliest class of each text, or one that is drawn."""
        found = classify(self.bank, [(request.prompt, request.composition) for request in requests], progress)
        chosen = [
            choose(torch.tensor([values]), [(r.sampling, torch.Generator().manual_seed(r.sampling.seed))])[0]
            for values, r in zip(found, requests, strict=True)
        ]
        return [Completion([], request.choice(one), "eos") for request, one in zip(requests, chosen, strict=True)]

    def _paired(self, drafts: list[Draft]) -> Iterator[list[Draft]]:
        """Sources of like length together, of all adapters."""
        waiting = sorted(drafts, key=lambda draft: len(draft.prompt))
        for start in range(0, len(waiting), self.max_rows):
            part = waiting[start : start + self.max_rows]
            complete_pairs(self.bank, part)
            yield part

    def _draft(self, number: int, request: Request) -> Draft:
        base = self.bank.base
        require_room(base, f"request {number}", len(request.prompt), 1)
        for name, _ in request.composition:
            self.bank.get(name)
        used = 1 if base.family == "seq2seq" else len(request.prompt)  # a decoder begins with its start token
        room = (positions(base) or used + request.max_new_tokens) - used
        return Draft(number, request, room, base.tokenizer)

    def _one_by_one(self, drafts: list[Draft]) -> Iterator[list[Draft]]:
        for draft in drafts:
            complete(self.bank, draft)
            yield [draft]

    def _together(self, drafts: list[Draft]) -> Iterator[list[Draft]]:
        """Keep the slots full while rows wait, sorted so that those which share run together."""
        waiting = sorted(drafts, key=lambda draft: (draft.composition, draft.prompt))
        decoder = Decoder(self.bank, self._cache(drafts))
        while waiting or decoder.live:
            if waiting and (not decoder.live or REFILL * decoder.free >= decoder.cache.slots):
                coming, waiting = waiting[: decoder.free], waiting[decoder.free :]
                yield decoder.admit(coming)
            if not waiting:
                decoder.compact()
            if decoder.live:
                yield decoder.step()

    def _cache(self, drafts: list[Draft]) -> Cache:
        """As many slots as allowed, each with room for the longest request."""
        base = self.bank.base
        widths = measure(base)
        capacity = max(len(draft.request.prompt) + draft.room for draft in drafts)
        each = capacity * bytes_per_position(widths)
        if each > self.max_cache_bytes:
            raise ConfigError(
                f"max_cache_bytes: {self.max_cache_bytes} does not hold one request of {capacity} tokens; "
                f"{base.name} needs at least {each}"
            )
        slots = min(self.max_rows, len(drafts), self.max_cache_bytes // each)
        return Cache(widths, slots, capacity, base.device)
