"""Intervals, paired tests, and the sentence that says which is better.

Every statistic here is a function of column sums: N cases give rows (N, K), a resample gives sums
(K,), and ``statistic`` maps many sums (M, K) to values (M,). A mean has the columns score and 1, a
loss the columns nats and tokens, BLEU its n-gram counts. So a corpus metric is bootstrapped without
computing it again for every resample, and the jackknife is one subtraction.

Intervals are BCa bootstrap intervals (Efron 1987, Better Bootstrap Confidence Intervals); for 0/1
scores Wilson's (1927), since a bootstrap of 200 wrong answers would claim [0, 0]. The same holds
where every resample of a bounded statistic gives one value. Comparisons are paired, case by case:
McNemar's exact test with Newcombe's (1998, method 10) interval for 0/1 scores, else the BCa
interval of the difference, with the p-value at which it touches zero.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
Bounds = tuple[float, float]
Verdict = Literal["better", "worse", "not distinguishable"]

CONFIDENCE = 0.95
RESAMPLES = 2000
NORMAL = NormalDist()
Z = NORMAL.inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval over n cases; nan where n cases cannot say (n = 1, unbounded)."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """Ours minus theirs on the same cases, its 95% interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float
    verdict: Verdict


def mean_rows(scores: ArrayLike) -> Floats:
    """(N,) scores -> (N, 2) rows whose ``ratio`` is their mean."""
    values = np.asarray(scores, dtype=np.float64)
    return np.stack([values, np.ones_like(values)], axis=1)


def ratio(sums: Floats) -> Floats:
    """(M, 2) -> (M,): first column over second; 0 where the second is 0."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] != 0)


def estimate(rows: Floats, statistic: Statistic = ratio, *, bounds: Bounds | None = None, seed: int = 0) -> Estimate:
    """The statistic of rows (N, K), N > 0, with its 95% interval; seeded, so always the same.

    bounds: the least and greatest value that the statistic can take, where there are such.
    """
    value, n = _value(rows, statistic), len(rows)
    if statistic is ratio and _is_binary(rows):
        return Estimate(value, *wilson(value, n), n)
    resampled = np.concatenate([statistic(c @ rows) for c in _resamples(n, seed)])
    if np.ptp(resampled) == 0.0 and bounds:
        floor, width = bounds[0], bounds[1] - bounds[0]
        low, high = wilson((value - floor) / width, n)
        return Estimate(value, floor + width * low, floor + width * high, n)
    if n == 1:
        return Estimate(value, nan, nan, n)
    return Estimate(value, *_Bca(value, resampled, _jackknife(rows, statistic)).interval(), n)


def compare(
    ours: Floats,
    theirs: Floats,
    statistic: Statistic = ratio,
    *,
    higher_is_better: bool = True,
    bounds: Bounds | None = None,
    seed: int = 0,
) -> Comparison:
    """The difference of a statistic between two sets of rows (N, K) of the same N cases in one order."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    difference = _value(ours, statistic) - _value(theirs, statistic)
    if statistic is ratio and _is_binary(ours) and _is_binary(theirs):
        low, high, p_value = _compare_binary(ours[:, 0], theirs[:, 0])
    else:
        low, high, p_value = _compare_resampled(ours, theirs, statistic, bounds, seed)
    return Comparison(difference, low, high, p_value, _verdict(difference, low, high, p_value, higher_is_better))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval for a share of n cases (Wilson 1927)."""
    centre = share + Z * Z / (2 * n)
    spread = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    low = 0.0 if share == 0 else (centre - spread) / scale
    high = 1.0 if share == 1 else (centre + spread) / scale
    return max(0.0, low), min(1.0, high)


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """Exact two-sided p-value of McNemar's test: how likely so uneven a split of the disagreements is."""
    n, fewer = only_ours + only_theirs, min(only_ours, only_theirs)
    ways, tail = 1, 0
    for k in range(fewer + 1):
        tail, ways = tail + ways, ways * (n - k) // (k + 1)
    return min(1.0, float(2 * tail / 2**n))


def sentence(comparison: Comparison, ours: str = "the adapter", theirs: str = "the base") -> str:
    """The comparison in words: ``dates is better than the base: +0.62 [+0.55, +0.69], p < 0.001.``"""
    c = comparison
    link = "from" if c.verdict == "not distinguishable" else "than"
    p = "p < 0.001" if c.p_value < 0.001 else f"p = {c.p_value:.3f}"
    interval = "" if isnan(c.low) else f" [{c.low:+.3g}, {c.high:+.3g}]"
    return f"{ours} is {c.verdict} {link} {theirs}: {c.difference:+.3g}{interval}, {p}."


def _value(rows: Floats, statistic: Statistic) -> float:
    return float(statistic(rows.sum(axis=0, keepdims=True))[0])


def _is_binary(rows: Floats) -> bool:
    return bool(np.isin(rows[:, 0], (0.0, 1.0)).all() and (rows[:, 1] == 1.0).all())


def _resamples(n: int, seed: int) -> Iterator[Floats]:
    """RESAMPLES draws of n from n with replacement as counts (M, N), in blocks that fit in memory."""
    generator = np.random.default_rng(seed)
    block = max(1, min(RESAMPLES, 4_000_000 // n))
    for start in range(0, RESAMPLES, block):
        m = min(block, RESAMPLES - start)
        drawn = generator.integers(n, size=(m, n)) + n * np.arange(m)[:, None]
        yield np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n).astype(np.float64)


def _jackknife(rows: Floats, statistic: Statistic) -> Floats:
    """The statistic with each case left out in turn: (N, K) -> (N,)."""
    return statistic(rows.sum(axis=0, keepdims=True) - rows)


class _Bca:
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

    def p_value(self) -> float:
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


def _compare_resampled(
    ours: Floats, theirs: Floats, statistic: Statistic, bounds: Bounds | None, seed: int
) -> tuple[float, float, float]:
    """Interval and p-value; the latter never below that of n signs which all agree, 2^(1 - n)."""
    n, values = len(ours), (_value(ours, statistic), _value(theirs, statistic))
    resampled = np.concatenate([statistic(c @ ours) - statistic(c @ theirs) for c in _resamples(n, seed)])
    bca = _Bca(values[0] - values[1], resampled, _jackknife(ours, statistic) - _jackknife(theirs, statistic))
    p_value = max(bca.p_value(), 2.0 ** (1 - n))
    if np.ptp(resampled) == 0.0 and bounds:
        floor, width = bounds[0], bounds[1] - bounds[0]
        low, high = _newcombe((values[0] - floor) / width, (values[1] - floor) / width, n, phi=0.0)
        return width * low, width * high, p_value
    return (nan, nan, p_value) if n == 1 else (*bca.interval(), p_value)


def _compare_binary(ours: Floats, theirs: Floats) -> tuple[float, float, float]:
    low, high = _newcombe(float(ours.mean()), float(theirs.mean()), len(ours), _phi(ours, theirs))
    return low, high, mcnemar(int((ours > theirs).sum()), int((ours < theirs).sum()))


def _newcombe(p: float, q: float, n: int, phi: float) -> tuple[float, float]:
    """Interval for the difference of paired shares (Newcombe 1998, Statist. Med. 17:2635, method 10)."""
    (p_low, p_high), (q_low, q_high) = wilson(p, n), wilson(q, n)
    below = (p - p_low) ** 2 - 2 * phi * (p - p_low) * (q_high - q) + (q_high - q) ** 2
    above = (p_high - p) ** 2 - 2 * phi * (p_high - p) * (q - q_low) + (q - q_low) ** 2
    return p - q - sqrt(max(0.0, below)), p - q + sqrt(max(0.0, above))


def _phi(ours: Floats, theirs: Floats) -> float:
    """Newcombe's continuity-corrected correlation of two columns of 0/1 scores."""
    both, neither = float((ours * theirs).sum()), float(((1 - ours) * (1 - theirs)).sum())
    ours_only, theirs_only = float((ours > theirs).sum()), float((ours < theirs).sum())
    margins = (both + ours_only) * (theirs_only + neither) * (both + theirs_only) * (ours_only + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - ours_only * theirs_only
    return (max(cross - len(ours) / 2, 0.0) if cross > 0 else cross) / sqrt(margins)


def _verdict(difference: float, low: float, high: float, p_value: float, higher_is_better: bool) -> Verdict:
    """Sure only where the interval excludes zero and the test agrees."""
    if not (low > 0 or high < 0) or p_value >= 1 - CONFIDENCE:
        return "not distinguishable"
    return "better" if (difference > 0) == higher_is_better else "worse"
