"""Resampling of cases: counts of many draws, the jackknife, and the interval that both give."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from tenfold.statistics.shares import NORMAL, Floats, Z

Statistic = Callable[[Floats], Floats]

RESAMPLES = 2000


def mean_rows(scores: ArrayLike) -> Floats:
    """(N,) scores -> (N, 2) rows whose ``ratio`` is their mean."""
    values = np.asarray(scores, dtype=np.float64)
    return np.stack([values, np.ones_like(values)], axis=1)


def ratio(sums: Floats) -> Floats:
    """(M, 2) -> (M,): first column over second; 0 where the second is 0."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)


def value_of(rows: Floats, statistic: Statistic) -> float:
    return float(statistic(rows.sum(axis=0, keepdims=True))[0])


def resamples(n: int, seed: int) -> Iterator[Floats]:
    """RESAMPLES draws of n from n with replacement as counts (M, N), in blocks that fit in memory."""
    generator = np.random.default_rng(seed)
    block = max(1, min(RESAMPLES, 4_000_000 // n))
    for start in range(0, RESAMPLES, block):
        m = min(block, RESAMPLES - start)
        drawn = generator.integers(n, size=(m, n)) + n * np.arange(m)[:, None]
        yield np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n).astype(np.float64)


def jackknife(rows: Floats, statistic: Statistic) -> Floats:
    """The statistic with each case left out in turn: (N, K) -> (N,)."""
    return statistic(rows.sum(axis=0, keepdims=True) - rows)


class Bca:
    """Bias correction z0 and acceleration a (Efron and Tibshirani 1993, eq. 14.14 and 14.15)."""

    def __init__(self, value: float, resampled: Floats, jackknife: Floats) -> None:
        self.resampled = resampled
        self.z0 = self._rank(value)
        pull = jackknife.mean() - jackknife
        spread = float((pull**2).sum()) ** 1.5
        self.a = float((pull**3).sum()) / (6 * spread) if spread else 0.0

    def interval(self) -> tuple[float, float]:
        shares = [NORMAL.cdf(self._adjust(sign * Z)) for sign in (-1, 1)]
        low, high = np.quantile(self.resampled, shares)
        return float(low), float(high)

    def pvalue_of(self) -> float:
        """Twice the one-sided level at which the interval would end at zero (the same, eq. 15.36)."""
        gap = self._rank(0.0) - self.z0
        z = gap / (1 + self.a * gap) - self.z0
        return min(1.0, 2 * min(NORMAL.cdf(z), 1 - NORMAL.cdf(z)))

    def _adjust(self, z: float) -> float:
        shifted = self.z0 + z
        return self.z0 + shifted / (1 - self.a * shifted)

    def _rank(self, value: float) -> float:
        """Where a value stands among the resampled ones, as a normal quantile that is always finite."""
        below = float((self.resampled < value).mean() + (self.resampled == value).mean() / 2)
        edge = 1 / (len(self.resampled) + 1)
        return NORMAL.inv_cdf(min(max(below, edge), 1 - edge))
