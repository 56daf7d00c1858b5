"""Rows of texts that fitting, or one decision, asks for several times; nothing is remembered between decisions."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class _Here(threading.local):
    """depth: blocks that the thread is in. over: how many times it has left the outermost."""

    depth = 0
    over = 0


_here = _Here()


class Memory(threading.local):
    """The rows (D,) of the texts that a thread asked for within ``remembering``."""

    def __init__(self) -> None:
        self.known: dict[str, NDArray[np.float32]] = {}
        self.since = _here.over

    def rows(self, texts: Sequence[str], make: Callable[[Sequence[str]], Rows]) -> Rows:
        """(B,) texts -> (B, D); make makes those that are not known."""
        if self.since != _here.over:
            self.known, self.since = {}, _here.over
        if not _here.depth:
            return make(texts)
        if new := [text for text in dict.fromkeys(texts) if text not in self.known]:
            self.known.update(zip(new, make(new), strict=True))
        return np.stack([self.known[text] for text in texts])


@contextmanager
def remembering() -> Iterator[None]:
    """While the block runs, rows are kept; when the outermost ends they are forgotten."""
    _here.depth += 1
    try:
        yield
    finally:
        _here.depth -= 1
        _here.over += not _here.depth
