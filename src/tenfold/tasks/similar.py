"""Inputs that are nearly the same: pairs by MinHash (Broder 1997), each checked on what it really shares.

Two texts are alike by their Jaccard index, |A & B| / |A | B|, of the runs of five characters in them. MinHash with
locality sensitive hashing finds the pairs worth looking at without comparing all; what is reported is the index itself.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datasketch import MinHash, MinHashLSH

from tenfold.progress import SILENT, Progress
from tenfold.tasks.overlaps import Place, normalise, pairs
from tenfold.tasks.task import Task

RUN = 5  # characters
ALIKE = 0.8
HASHES = 128
WEIGHTS = (0.05, 0.95)  # a pair that is looked at in vain costs little, one that is missed is not seen again
MOST_ROWS = 20_000  # of a split that are looked at
CROWD = 50  # inputs near one another of which no more are needed to find what is near them

Twins = tuple[float, str, str]


@dataclass(frozen=True)
class Similar:
    """Inputs of a split that nearly stand in another split, or further up in the same one; exact repeats are left out.

    rows: how many, of ``of`` different inputs that were looked at. example, twin: the most alike; share: how much.
    """

    task: str
    split: str
    in_task: str
    in_split: str
    rows: int
    of: int
    share: float
    example: str
    twin: str

    @property
    def within(self) -> bool:
        """Whether both are of one split."""
        return (self.task, self.split) == (self.in_task, self.in_split)

    def __str__(self) -> str:
        """One sentence."""
        where = "repeat an earlier one nearly" if self.within else f"nearly stand in {self.in_task} {self.in_split}"
        return f"{self.task} {self.split}: {self.rows} of {self.of} inputs {where}, e.g. {self.example[:60]!r}"


def find_similar(tasks: Sequence[Task], alike: float = ALIKE, progress: Progress = SILENT) -> list[Similar]:
    """Near repeats within every split, and between the splits that ``find_overlaps`` compares.

    alike: the least Jaccard index, above 0. Of each split the first ``MOST_ROWS`` different inputs count.
    """
    splits = {(task.name, split): rows for task in tasks for split, rows in task.splits().items()}
    with progress.start("near repeats", len(splits), "splits") as bar:
        known = {}
        for place, rows in splits.items():
            known[place] = _Inputs([one.content for one in rows], alike)
            bar.advance()
    both = [(place, place) for place in splits] + list(pairs(tasks))
    found = (_compare(mine, theirs, known[mine], known[theirs]) for mine, theirs in both)
    return [one for one in found if one]


class _Inputs:
    """The different inputs of one split, in order, an index of them, and those that nearly repeat an earlier one."""

    def __init__(self, contents: Sequence[str], alike: float) -> None:
        texts = dict(reversed([(normalise(content), content) for content in reversed(contents)]))
        self.texts, self.alike = dict(list(texts.items())[:MOST_ROWS]), alike
        hashes = MinHash.bulk(map(_runs, self.texts), num_perm=HASHES, hashfunc=zlib.crc32)
        self.hashes = dict(zip(self.texts, hashes, strict=True))
        self.index = MinHashLSH(threshold=alike, num_perm=HASHES, weights=WEIGHTS)
        self.repeats: list[Twins] = []
        for key, own in self.hashes.items():
            near = self.index.query(own)
            self.repeats += self.twins(key, near)
            if len(near) < CROWD:
                self.index.insert(key, own)

    def twins(self, key: str, near: Iterable[str]) -> list[Twins]:
        """The most alike of what is near, if it is alike enough: (share, key, twin)."""
        best = max(((_share(key, twin), key, twin) for twin in near), default=None)
        return [best] if best and best[0] >= self.alike else []


def _runs(text: str) -> frozenset[bytes]:
    return frozenset(text[i : i + RUN].encode("utf-8", "replace") for i in range(max(1, len(text) - RUN + 1)))


def _share(one: str, two: str) -> float:
    mine, theirs = _runs(one), _runs(two)
    return len(mine & theirs) / len(mine | theirs)


def _compare(mine: Place, theirs: Place, own: _Inputs, other: _Inputs) -> Similar | None:
    """What of one split is alike with another; within one, what is with an earlier row."""
    fresh = [] if own is other else [key for key in own.texts if key not in other.texts]
    found = [twins for key in fresh for twins in other.twins(key, other.index.query(own.hashes[key]))]
    found = own.repeats if own is other else found
    if not found:
        return None
    share, key, twin = max(found)
    return Similar(*mine, *theirs, len(found), len(own.texts), share, own.texts[key], other.texts[twin])
