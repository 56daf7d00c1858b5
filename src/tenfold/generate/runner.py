"""What runs the rows of the engine: their prompts by pieces, then a token of each a step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tenfold.generate.draft import Draft


@dataclass(frozen=True)
class Piece:
    """Tokens [start, stop) of a draft's prompt; those before are in the cache."""

    draft: Draft
    start: int
    stop: int


class Runner(Protocol):
    """Holds the keys and values of rows.

    cache_bytes: what they take, with the prefix cache; prefix_bytes: that alone.
    """

    @property
    def cache_bytes(self) -> int: ...

    @property
    def prefix_bytes(self) -> int: ...

    def running(self) -> AbstractContextManager[object]:
        """What passes run in."""
        ...

    def require(self, draft: Draft) -> None:
        """Raise ConfigError for a draft that can never be placed."""
        ...

    def place(self, draft: Draft) -> bool:
        """Give a draft room for all of its tokens, and set ``filled`` to how many are there; False where none is."""
        ...

    def release(self, draft: Draft) -> None:
        """Take the room back; drafts that never had any are no mistake."""
        ...

    def claim(self, draft: Draft) -> bool:
        """Whether to go on with a placed draft's prompt in the next pass, with ``filled`` up to date; False where
        that pass computes for another draft what this one can use."""
        ...

    def prefill(self, pieces: Sequence[Piece]) -> Tensor:
        """One pass over pieces of several prompts -> the hidden state (n, D) of each one's last token."""
        ...

    def decode(self, drafts: Sequence[Draft]) -> Tensor:
        """One pass over the newest token of each -> hidden states (n, D)."""
        ...
