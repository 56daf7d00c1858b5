"""An answer in the making: its tokens so far, and why it ended once it has."""

import torch
from transformers import PreTrainedTokenizerBase

from tenfold.adapters.composition import Composition
from tenfold.generate.request import Completion, Finish, Request
from tenfold.generate.sampler import Chooser
from tenfold.generate.stops import StopFinder, decode


class Draft:
    """One request under way.

    number: its place among the requests. room: how many tokens it may still get when it begins.
    """

    def __init__(self, number: int, request: Request, room: int, tokenizer: PreTrainedTokenizerBase) -> None:
        self.number, self.request = number, request
        self.room = min(room, request.max_new_tokens)
        self.tokens: list[int] = []
        self.finish: Finish | None = None
        self.chooser: Chooser = (request.sampling, torch.Generator().manual_seed(request.sampling.seed))
        self._tokenizer = tokenizer
        self._stops = StopFinder(tokenizer, request.stop) if request.stop else None
        self._cut: tuple[int, int] | None = None

    @property
    def prompt(self) -> list[int]:
        """The tokens before the answer."""
        return list(self.request.prompt)

    @property
    def composition(self) -> Composition:
        """Its adapters with weights."""
        return self.request.composition

    @property
    def position(self) -> int:
        """Of the newest token, counted from the prompt's first."""
        return len(self.request.prompt) + len(self.tokens) - 1

    def add(self, token: int) -> None:
        """The next token; sets ``finish`` where it is the last."""
        if token in self.request.eos:
            self.finish = "eos"
            return
        self.tokens.append(token)
        self._cut = self._stops.add(self.tokens) if self._stops else None
        if self._cut:
            self.finish = "stop"
        elif len(self.tokens) == self.room:
            self.finish = "length"

    def completion(self) -> Completion:
        """The answer as it stands; only for one that has finished."""
        assert self.finish is not None
        if self._cut and self._stops:
            return Completion(self.tokens[: self._cut[0]], self._stops.text[: self._cut[1]], self.finish)
        return Completion(self.tokens, decode(self._tokenizer, self.tokens), self.finish)
