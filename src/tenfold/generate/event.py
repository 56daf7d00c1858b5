"""What comes out of a step, and how the engine stands."""

from dataclasses import dataclass

from tenfold.errors import ModelError
from tenfold.generate.request import Completion, Finish, TokenLogprob


@dataclass(frozen=True)
class Event:
    """What one request got in a step.

    number: as ``Live.submit`` gave it. text: newly final, never part of a possible stop string or of an unfinished
    character. tokens, logprobs: newly final too; the last event leaves out the tokens of a stop string, and EOS.
    finish: why it ended, None while it goes on. error: what went wrong where it ended with "error".
    """

    number: int
    text: str = ""
    tokens: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Finish | None = None
    error: str | None = None


class Answer:
    """The events of one request put together."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """The next one."""
        self._events.append(event)

    def completion(self) -> Completion:
        """The whole answer. Raises ModelError where it ended with an error."""
        last = self._events[-1]
        assert last.finish, "an answer that is not whole"
        if last.error:
            raise ModelError(f"request {last.number}: {last.error}")
        tokens = [token for event in self._events for token in event.tokens]
        logprobs = tuple(told for event in self._events for told in event.logprobs)
        return Completion(tokens, "".join(event.text for event in self._events), last.finish, logprobs)


@dataclass(frozen=True)
class Stats:
    """How an engine stands.

    waiting, running: requests; those running have a place in the cache. cache_bytes: of the keys and values of those
    running and of the prefix cache, out of max_cache_bytes; prefix_bytes: the latter's. prefix_hit_tokens,
    prompt_tokens: prompt tokens that were found there, out of all. new_tokens: made so far. steps: so far.
    """

    waiting: int
    running: int
    cache_bytes: int
    max_cache_bytes: int
    prefix_bytes: int
    prefix_hit_tokens: int
    prompt_tokens: int
    new_tokens: int
    steps: int
