"""Hashed n-grams of words and characters, weighted by how rare they are.

A text's n-grams are 1 and 2 words, and 2 to 5 characters within a word and the spaces around it. All of a text's
n-grams of characters are hashed at once, so that a long text takes little longer than a short one. A weight is
(1 + log count) times the inverse document frequency log((1 + n) / (1 + df)) + 1; words and characters are each scaled
to length one. N-grams that training never saw count in that length too: a strange text is near to nothing.
"""

import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.route.features._base import Floats, Sparse, Tensors, refuse
from tenfold.route.texts import clean

if TYPE_CHECKING:
    from tenfold.adapters import Bank

Hashes = NDArray[np.uint32]
WORD = re.compile(r"\w+|[^\w\s]")
SHORTEST, LONGEST = 2, 5  # characters
MOST_GRAMS, MOST_WEIGHTS = 1 << 15, 1 << 24
FACTOR, MIX = np.uint32(0x01000193), np.uint32(0x9E3779B1)
HALF = 1 << 31  # words hash below it, characters from there on
SPACE = 32


def words(text: str) -> Hashes:
    """Hashes of a text's words and pairs of words."""
    one = np.array([zlib.crc32(word.encode()) for word in WORD.findall(text)], dtype=np.uint32)
    two = _mixed(one[:-1] * FACTOR ^ one[1:]) if len(one) > 1 else one[:0]
    return np.concatenate([one, two]) & np.uint32(HALF - 1)


def characters(text: str) -> Hashes:
    """Hashes of a text's n-grams of characters; no space stands inside one."""
    spaced = f" {' '.join(text.split())} "
    codes = np.frombuffer(spaced.encode("utf-32-le"), dtype="<u4").astype(np.uint32)
    inner = np.cumsum(codes == SPACE)
    found, rolling = [], codes * MIX
    for n in range(2, LONGEST + 1):
        if len(codes) < n:
            break
        rolling = (rolling[:-1] * FACTOR) ^ (codes[n - 1 :] * MIX)
        if n >= SHORTEST:
            clear = inner[n - 2 :][: len(rolling)] == inner[: len(rolling)] if n > 2 else np.ones(len(rolling), bool)
            found.append(_mixed(rolling[clear] + np.uint32(n)))
    return np.concatenate([*found, codes[:0]]) | np.uint32(HALF)


def _mixed(hashes: Hashes) -> Hashes:
    hashes = (hashes ^ (hashes >> np.uint32(15))) * MIX
    return hashes ^ (hashes >> np.uint32(13))


@dataclass(frozen=True)
class Grams:
    """The distinct n-grams of one text, and the share of each before rarity: hashes sorted, words first."""

    hashes: Hashes
    counts: NDArray[np.float32]


def grams(text: str) -> Grams:
    """The n-grams of the part of a text that is looked at."""
    plain = unicodedata.normalize("NFKC", clean(text)).casefold()
    hashes, counts = np.unique(np.concatenate([words(plain), characters(plain)]), return_counts=True)
    return Grams(hashes, (1 + np.log(counts)).astype(np.float32))


@dataclass(frozen=True)
class Features:
    """The n-grams that training saw, sorted, with the rarity of each and of those that it never saw."""

    hashes: Hashes
    rarity: NDArray[np.float32]
    unseen: float

    @classmethod
    def fit(cls, texts: Sequence[str], tasks: int, argument: str | None, bank: "Bank | None") -> "Features":
        refuse("tfidf", argument)
        most = most_grams(tasks)
        found = [grams(text).hashes for text in texts]
        hashes, counts = np.unique(np.concatenate([*found, np.zeros(0, np.uint32)]), return_counts=True)
        if len(hashes) > most:
            kept = np.sort(np.argsort(-counts, kind="stable")[:most])
            hashes, counts = hashes[kept], counts[kept]
        rarity = np.log((1 + len(texts)) / (1 + counts)) + 1
        return cls(hashes.astype(np.uint32), rarity.astype(np.float32), float(np.log(1 + len(texts)) + 1))

    def vector(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Columns and values of a text's row; its length is at most one."""
        found = grams(text)
        places = np.minimum(np.searchsorted(self.hashes, found.hashes), max(len(self.hashes) - 1, 0))
        known = self.hashes[places] == found.hashes if len(self.hashes) else np.zeros(len(places), bool)
        values = found.counts * np.where(known, self.rarity[places] if len(self.hashes) else 0, self.unseen)
        middle = int(np.searchsorted(found.hashes, np.uint32(HALF)))
        for part in (values[:middle], values[middle:]):
            part /= max(float(np.sqrt(2 * (part @ part))), 1e-12)
        return places[known], values[known].astype(np.float32)

    def rows(self, texts: Sequence[str]) -> Sparse:
        vectors = [self.vector(text) for text in texts]
        starts = np.cumsum([0, *(len(columns) for columns, _ in vectors)])
        columns = np.concatenate([np.zeros(0, np.int64), *(columns for columns, _ in vectors)])
        values = np.concatenate([np.zeros(0, np.float32), *(values for _, values in vectors)])
        return Sparse(starts, columns, values.astype(np.float32), len(self.hashes))

    def dot(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Floats:
        rows = (self.vector(text) for text in texts)
        return np.stack([values @ vectors[columns] for columns, values in rows]).astype(np.float64)

    def grown(self, texts: Sequence[str]) -> tuple["Features", int, NDArray[np.int64]]:
        new = np.concatenate([grams(text).hashes for text in texts])
        hashes = np.union1d(self.hashes, new)
        places = np.searchsorted(hashes, self.hashes)
        rarity = np.full(len(hashes), self.unseen, np.float32)
        rarity[places] = self.rarity
        return Features(hashes, rarity, self.unseen), len(hashes), places

    def save(self) -> tuple[dict[str, Any], Tensors]:
        return {"unseen": self.unseen}, {"hashes": self.hashes, "rarity": self.rarity}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None") -> "Features":
        return cls(tensors["hashes"], tensors["rarity"], float(values["unseen"]))


def most_grams(tasks: int) -> int:
    """How many n-grams are kept: fewer where there are very many tasks, so that their weights fit in memory."""
    return min(MOST_GRAMS, max(1 << 12, MOST_WEIGHTS // tasks))
