"""Which adapter a text needs, where nobody says so."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True)
class Choice:
    """adapter: None where the router would rather not choose, with the reason; the base answers then.

    probability: of the likeliest adapter. out_of_scope: how far the text lies outside of all tasks, where the router
    says so. probabilities: of all adapters, adding up to at most 1.
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
        """A choice for each text, in order. Called by the thread that owns the base."""
