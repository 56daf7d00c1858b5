"""What is asked of a base and its adapters, and what comes back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tenfold.adapters.composition import BASE, Composition
from tenfold.base.model import Base
from tenfold.errors import ConfigError, DataError

Finish = Literal["eos", "stop", "length", "cancelled", "error"]
MOST_LOGPROBS = 20


def _require(name: str, given: object, allowed: bool, what: str) -> None:
    if not allowed:
        raise ConfigError(f"{name}: {given!r} is not allowed; it must be {what}")


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen from its logits.

    temperature: 0 takes the best token; else logits are divided by it and a token is drawn.
    top_k: only the k best tokens; 0 is all. top_p: only the fewest best that hold this much probability.
    seed: of the request's own random numbers; neighbours don't touch them.
    Raises ConfigError for a value out of its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 or a number above it")
        _require("top_k", self.top_k, self.top_k >= 0, "0 (all) or a number of tokens")
        _require("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, at most 1")
        _require("seed", self.seed, 0 <= self.seed < 2**63, "0 to 2**63 - 1")

    @property
    def greedy(self) -> bool:
        """Whether the best token is always taken."""
        return self.temperature == 0


GREEDY = Sampling()


@dataclass(frozen=True)
class Request:
    """One prompt to be answered.

    prompt: token ids. composition: adapters with weights; () is the base.
    stop: strings that end the answer, themselves left out. eos: tokens that end it; empty runs to the length.
    choices: for classification, the names of the classes, in order; the answer is one of them.
    logprobs: how many of the best tokens to tell beside each chosen one, None tells none at all.
    json: the answer is JSON, true for any object or a JSON schema that it must fit (the extra ``json``).
    Raises ConfigError for a value out of its range, DataError for an empty prompt.
    """

    prompt: Sequence[int]
    composition: Composition = BASE
    max_new_tokens: int = 64
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    eos: frozenset[int] = field(default_factory=frozenset)
    choices: tuple[str, ...] = ()
    logprobs: int | None = None
    json: bool | Mapping[str, Any] = False

    def __post_init__(self) -> None:
        _require("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 1, "1 or more")
        stops = not isinstance(self.stop, str) and all(self.stop)
        _require("stop", self.stop, stops, "a tuple of strings that are not empty")
        told = self.logprobs is None or 0 <= self.logprobs <= MOST_LOGPROBS
        _require("logprobs", self.logprobs, told, f"0 to {MOST_LOGPROBS}, or none")
        if not self.prompt:
            raise DataError("prompt: it has no tokens; at least 1 is needed to predict the next")

    def choice(self, number: int) -> str:
        """The name of a class, its number where it has none."""
        return self.choices[number] if number < len(self.choices) else str(number)


@dataclass(frozen=True)
class TokenLogprob:
    """What the model gave a token: natural log of its probability before temperature and filters.

    best: the likeliest tokens with theirs, as many as were asked for, in order.
    """

    token: int
    logprob: float
    best: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """An answer. tokens: without EOS and without those of the stop string. text: cut before the stop string.

    A class has no tokens. logprobs: of each token, where they were asked for.

    finish: "eos", "stop", or "length" where max_new_tokens or the model's positions were used up.
    """

    tokens: list[int]
    text: str
    finish: Finish
    logprobs: tuple[TokenLogprob, ...] = ()


def positions(base: Base) -> int | None:
    """How many positions the model has; None where nothing says so (ALiBi)."""
    found = getattr(base.model.config.get_text_config(), "max_position_embeddings", None)
    return int(found) if found else None


def require_room(base: Base, what: str, tokens: int, new: int) -> None:
    """Raise DataError unless tokens and so many new ones fit into the model's positions."""
    limit = positions(base)
    if limit is not None and tokens + new > limit:
        raise DataError(f"{what}: {tokens} tokens; {base.name} has {limit} positions, so at most {limit - new}")
