"""Shares of right answers: their intervals, and whether two of them on the same cases differ."""

from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
NORMAL = NormalDist()
Z = NORMAL.inv_cdf((1 + CONFIDENCE) / 2)


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


def compare_binary(ours: Floats, theirs: Floats) -> tuple[float, float, float]:
    low, high = newcombe(float(ours.mean()), float(theirs.mean()), len(ours), phi(ours, theirs))
    return low, high, mcnemar(int((ours > theirs).sum()), int((ours < theirs).sum()))


def newcombe(p: float, q: float, n: int, phi: float) -> tuple[float, float]:
    """Interval for the difference of paired shares (Newcombe 1998, Statist. Med. 17:2635, method 10)."""
    (p_low, p_high), (q_low, q_high) = wilson(p, n), wilson(q, n)
    below = (p - p_low) ** 2 - 2 * phi * (p - p_low) * (q_high - q) + (q_high - q) ** 2
    above = (p_high - p) ** 2 - 2 * phi * (p_high - p) * (q - q_low) + (q - q_low) ** 2
    return p - q - sqrt(max(0.0, below)), p - q + sqrt(max(0.0, above))


def phi(ours: Floats, theirs: Floats) -> float:
    """Newcombe's continuity-corrected correlation of two columns of 0/1 scores."""
    both, neither = float((ours * theirs).sum()), float(((1 - ours) * (1 - theirs)).sum())
    ours_only, theirs_only = float((ours > theirs).sum()), float((ours < theirs).sum())
    margins = (both + ours_only) * (theirs_only + neither) * (both + theirs_only) * (ours_only + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - ours_only * theirs_only
    return (max(cross - len(ours) / 2, 0.0) if cross > 0 else cross) / sqrt(margins)


def is_binary(rows: Floats) -> bool:
    return bool(np.isin(rows[:, 0], (0.0, 1.0)).all() and (rows[:, 1] == 1.0).all())
