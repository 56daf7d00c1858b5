"""A conversation that stays with its adapter until what is asked clearly needs another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tenfold.route.router import Decision, Router
from tenfold.route.texts import asked

MARGIN = 0.5


@dataclass
class Conversation:
    """Routes each turn of one conversation.

    turns: how many of the last user turns are looked at. sticky: keep the adapter that was chosen before, unless
    another is in scope and its probability is higher by ``margin``.
    """

    router: Router
    turns: int = 1
    sticky: bool = False
    margin: float = MARGIN
    last: Decision | None = field(default=None, init=False)

    def decide(self, messages: Sequence[Mapping[str, str]]) -> Decision:
        """What answers the last user turn. messages: {role, content}, from the first to the last."""
        text = asked(messages, self.turns)
        [new] = self.router.decide([text])
        self.last = self._kept(text, new) if self.sticky and self.last and self.last.adapter else new
        return self.last

    def _kept(self, text: str, new: Decision) -> Decision:
        assert self.last is not None
        kept = self.last.adapter
        held = float(self.router.scores([text]).probabilities[0, self.router.tasks.index(str(kept))])
        if new.adapter is not None and new.adapter != kept and new.probability > held + self.margin:
            return new
        return new if new.adapter == kept else replace(
            new, adapter=kept, probability=held, reason=f"the conversation stays with {kept}; by itself: {new.reason}"
        )  # fmt: skip
