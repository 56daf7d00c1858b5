"""An answer in the making: its tokens so far, what of them is final, and why it ended once it has."""

import torch
from transformers import PreTrainedTokenizerBase

from tenfold.adapters.composition import Composition
from tenfold.generate.event import Event
from tenfold.generate.grammar import Grammar
from tenfold.generate.request import Completion, Finish, Request, TokenLogprob
from tenfold.generate.sampler import Chooser
from tenfold.generate.stops import StopFinder, decode


class Draft:
    """One request under way.

    number: its own. room: how many tokens it may still get when it begins. tenant: whose it is.
    filled: how many tokens of its prompt are in the cache, hits: how many of them were there
    before. grammar: what its tokens must follow, if anything.
    """

    def __init__(
        self,
        number: int,
        request: Request,
        room: int,
        tokenizer: PreTrainedTokenizerBase,
        tenant: str = "",
        grammar: Grammar | None = None,
    ) -> None:
        self.number, self.request, self.tenant, self.grammar = number, request, tenant, grammar
        self.room = min(room, request.max_new_tokens)
        self.prompt = list(request.prompt)
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.filled = self.hits = 0
        self.finish: Finish | None = None
        self.error: str | None = None
        self.chooser: Chooser = (request.sampling, torch.Generator().manual_seed(request.sampling.seed))
        self._tokenizer = tokenizer
        self._stops = StopFinder(tokenizer, request.stop)
        self._cut: tuple[int, int] | None = None
        self._told = self._shown = 0  # tokens and characters that went out already

    @property
    def composition(self) -> Composition:
        """Its adapters with weights."""
        return self.request.composition

    @property
    def position(self) -> int:
        """Of the newest token, counted from the prompt's first."""
        return len(self.prompt) + len(self.tokens) - 1

    @property
    def length(self) -> int:
        """How many tokens it may have in all, prompt included."""
        return len(self.prompt) + self.room

    def add(self, token: int, logprob: TokenLogprob | None = None) -> None:
        """The next token; sets ``finish`` where it is the last."""
        if token in (self.grammar.eos if self.grammar else self.request.eos):
            self.finish = "eos"
            return
        self.tokens.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        self._cut = self._stops.add(self.tokens)
        if self._cut:
            self.finish = "stop"
        elif self.grammar and self.grammar.ended:
            self.finish = "eos"
        elif len(self.tokens) == self.room:
            self.finish = "length"

    def end(self, finish: Finish, error: str | None = None) -> None:
        """Without a last token."""
        self.finish, self.error = finish, error

    def event(self) -> Event | None:
        """What is final and was not told yet, None where nothing is."""
        tokens, text = self._final()
        told, shown = self._told, self._shown
        if self.finish is None and tokens <= told and len(text) <= shown:
            return None
        self._told, self._shown = max(told, tokens), max(shown, len(text))
        logprobs = tuple(self.logprobs[told:tokens])
        return Event(self.number, text[shown:], tuple(self.tokens[told:tokens]), logprobs, self.finish, self.error)

    def completion(self) -> Completion:
        """The answer as it stands; only for one that has finished."""
        assert self.finish is not None
        tokens, text = self._final()
        return Completion(self.tokens[:tokens], text, self.finish, tuple(self.logprobs[:tokens]))

    def _final(self) -> tuple[int, str]:
        """How many tokens are final, and the text that is."""
        if self._cut:
            return self._cut[0], self._stops.text[: self._cut[1]]
        if self.finish is None:
            tokens, characters = self._stops.settled()
            return tokens, self._stops.text[:characters]
        whole = decode(self._tokenizer, self.tokens)
        known = self._stops.text[: self._shown]
        return len(self.tokens), whole if whole.startswith(known) else self._stops.text
