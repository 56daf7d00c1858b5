"""Which adapter a text needs, where nobody says so."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tenfold import route
from tenfold.adapters import Bank
from tenfold.route.memory import remembering


@dataclass(frozen=True)
class Choice:
    """adapter: None where the router would rather not choose, with the reason; the base answers then.

    probability: of the likeliest adapter. out_of_scope: a score, higher is further outside of all tasks; None where it
    has no number. probabilities: of all adapters, adding up to at most 1.
    """

    adapter: str | None
    probability: float
    out_of_scope: float | None
    reason: str | None
    probabilities: Mapping[str, float]

    def among(self, allowed: Collection[str]) -> "Choice":
        """The same for one who may use only these adapters, and need not know of others."""
        seen = {name: p for name, p in self.probabilities.items() if name in allowed}
        if self.adapter is None or self.adapter in allowed:
            return replace(self, probabilities=seen)
        best = max(seen.values(), default=0.0)
        return replace(self, adapter=None, probability=best, reason="none of your adapters fits", probabilities=seen)


class Chooser(Protocol):
    """A router, opened for use."""

    def choose(self, texts: Sequence[str]) -> list[Choice]:
        """A choice for each text, in order. Called in a thread beside the engine's: it leaves the base alone."""


class Routed:
    """What a run's own router chooses."""

    def __init__(self, router: route.Router) -> None:
        self.router = router

    def choose(self, texts: Sequence[str]) -> list[Choice]:
        """See Chooser."""
        with remembering():
            shares = self.router.scores(texts).probabilities.tolist()
            decisions = self.router.decide(texts)
        return [self._choice(*one) for one in zip(decisions, shares, strict=True)]

    def _choice(self, made: route.Decision, shares: list[float]) -> Choice:
        far = made.out_of_scope if math.isfinite(made.out_of_scope) else None
        probabilities = dict(zip(self.router.tasks, shares, strict=True))
        return Choice(made.adapter, made.probability, far, made.reason, probabilities)


def load(folder: Path, bank: Bank) -> Chooser:
    """The router in a folder. Raises RunError where it cannot be used."""
    return Routed(route.load(folder, bank=bank))
