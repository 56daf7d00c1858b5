"""Which rows a lane's optimizer step takes: a pure function of the rows, the seed and the step's number."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tenfold.base.layout import Row
from tenfold.training import plan
from tenfold.training.plan import Lane


@dataclass(frozen=True)
class Micro:
    """The rows of one lane in one pass, by feed."""

    feeds: dict[int, list[Row]]

    @property
    def supervised(self) -> int:
        """How many tokens count in the loss."""
        return sum(row.counted for rows in self.feeds.values() for row in rows)

    def weight(self, lane: Lane) -> float:
        """The same, each feed's tokens times the feed's weight."""
        return sum(lane.feeds[feed].weight * row.counted for feed, rows in self.feeds.items() for row in rows)


class Batches:
    """A lane's rows, in a new seeded order every epoch, one epoch after the other without a gap.

    rows: the training rows of each of the lane's feeds. With ``steps`` set the stream goes on as long as
    it takes; with epochs the last step takes what is left.
    """

    def __init__(self, lane: Lane, rows: Sequence[Sequence[Row]], seed: int) -> None:
        self.lane = lane
        self.rows = [(feed, row) for feed, own in enumerate(rows) for row in own]
        training = lane.training
        self.end = None if training.steps else plan.seen(training, len(self.rows))
        self._order = lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng([seed, epoch]).permutation(len(self.rows))
        )

    def step(self, number: int) -> list[Micro]:
        """The passes of optimizer step ``number`` (from 0, below the lane's ``steps``); at least one, none empty."""
        start = number * self.lane.batch
        stop = start + self.lane.batch
        stop = stop if self.end is None else min(stop, self.end)
        size = self.lane.training.micro_batch_size
        return [self._micro(range(at, min(at + size, stop))) for at in range(start, stop, size)]

    def epoch(self, number: int) -> float:
        """How many epochs are done after so many steps."""
        done = number * self.lane.batch
        return min(done, self.end or done) / len(self.rows)

    def whole_epochs(self, number: int) -> int:
        """The same without the epoch that is under way."""
        done = number * self.lane.batch
        return min(done, self.end or done) // len(self.rows)

    def _micro(self, places: range) -> Micro:
        feeds: dict[int, list[Row]] = {}
        for place in places:
            feed, row = self.rows[self._order(place // len(self.rows))[place % len(self.rows)]]
            feeds.setdefault(feed, []).append(row)
        return Micro(dict(sorted(feeds.items())))
