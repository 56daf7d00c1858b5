"""Student's t distribution (1908) of whole degrees of freedom: its sums, as Abramowitz and Stegun 26.7.3 and 26.7.4."""

from math import atan, cos, pi, sin, sqrt, tan

from tenfold.statistics.shares import CONFIDENCE


def two_sided(mean: float, error: float, freedom: int) -> float:
    """The p-value of a mean: how likely a mean so far from zero is. error: its
    standard error."""
    if error == 0.0:
        return 0.0 if mean else 1.0
    return 1 - _within(atan(abs(mean) / error / sqrt(freedom)), freedom)


def quantile(freedom: int) -> float:
    """How many standard errors the 95% interval reaches to either side."""
    low, high = 0.0, pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < CONFIDENCE else (low, middle)
    return sqrt(freedom) * tan(low)


def _within(angle: float, freedom: int) -> float:
    """How much of the distribution lies within t = sqrt(freedom) * tan(angle) of zero."""
    odd, total = freedom % 2, 0.0
    term = cos(angle) if odd else 1.0
    for k in range(odd, freedom - 1, 2):
        total += term
        term *= cos(angle) ** 2 * (k + 1) / (k + 2)
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
