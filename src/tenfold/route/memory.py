"""Rows of texts that fitting asks for several times; deciding remembers nothing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class Memory:
    """The rows (D,) of the texts that were asked for within ``remembering``."""

    depth: ClassVar[int] = 0
    over: ClassVar[int] = 0  # how many times remembering has ended

    def __init__(self) -> None:
        self.known: dict[str, NDArray[np.float32]] = {}
        self.since = Memory.over

    def rows(self, texts: Sequence[str], make: Callable[[Sequence[str]], Rows]) -> Rows:
        """(B,) texts -> (B, D); make makes those that are not known."""
        if self.since != Memory.over:
            self.known, self.since = {}, Memory.over
        if not Memory.depth:
            return make(texts)
        if new := [text for text in dict.fromkeys(texts) if text not in self.known]:
            self.known.update(zip(new, make(new), strict=True))
        return np.stack([self.known[text] for text in texts])


@contextmanager
def remembering() -> Iterator[None]:
    """While the block runs, rows are kept; when the outermost ends they are forgotten."""
    Memory.depth += 1
    try:
        yield
    finally:
        Memory.depth -= 1
        Memory.over += not Memory.depth
