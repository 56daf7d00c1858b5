"""A value with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, nan, sqrt

import numpy as np

from tenfold.statistics.bootstrap import Bca, Statistic, jackknife, ratio, resamples, value_of
from tenfold.statistics.shares import Floats, is_binary, wilson
from tenfold.statistics.student import quantile

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval over n cases; nan where n cases cannot say (n = 1, unbounded)."""

    value: float
    low: float
    high: float
    n: int


def estimate(rows: Floats, statistic: Statistic = ratio, *, bounds: Bounds | None = None, seed: int = 0) -> Estimate:
    """The statistic of rows (N, K), N > 0, with its 95% interval; seeded, so always the same.

    bounds: the least and greatest value that the statistic can take, where there are such.
    """
    value, n = value_of(rows, statistic), len(rows)
    if statistic is ratio and is_binary(rows):
        return Estimate(value, *wilson(value, n), n)
    resampled = np.concatenate([statistic(c @ rows) for c in resamples(n, seed)])
    if np.ptp(resampled) == 0.0 and bounds:
        floor, width = bounds[0], bounds[1] - bounds[0]
        low, high = wilson((value - floor) / width, n)
        return Estimate(value, floor + width * low, floor + width * high, n)
    if n == 1:
        return Estimate(value, nan, nan, n)
    return Estimate(value, *Bca(value, resampled, jackknife(rows, statistic)).interval(), n)


def average(parts: Sequence[Estimate]) -> Estimate:
    """The mean of estimates that come from cases of their own, with an interval made of theirs.

    Zou and Donner 2008 (Statist. Med. 27:1693): the distances to each one's own limits are recovered as spreads and
    add up as squares do, so that Wilson's and BCa limits keep their shape. n: all cases together.
    """
    value, n = sum(one.value for one in parts) / len(parts), sum(one.n for one in parts)
    below = hypot(*(one.value - one.low for one in parts)) / len(parts)
    above = hypot(*(one.high - one.value for one in parts)) / len(parts)
    return Estimate(value, value - below, value + above, n)


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of one value a seed with Student's t interval: what another seed may give, not other cases. n: seeds."""
    value, n = float(np.mean(values)), len(values)
    if n < 2:
        return Estimate(value, nan, nan, n)
    spread = quantile(n - 1) * float(np.std(values, ddof=1)) / sqrt(n)
    return Estimate(value, value - spread, value + spread, n)
