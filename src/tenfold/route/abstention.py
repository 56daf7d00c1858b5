"""When to answer "none of them": a score for how far out of scope a text is, and where it is too far.

energy is minus the log of the sum of the exponentials of the logits (Liu et al. 2020, arXiv:2010.03759), distance is
how far the text is from the nearest of what was learnt. Which of them is used, validation decides: every task in turn
is left out, and the score is taken that tells its texts from the others' best, by the area under the ROC curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SCORES = ("energy", "distance")


@dataclass(frozen=True)
class Abstention:
    """score: one of SCORES. threshold: above it a text is out of scope. coverage: the share of in-scope texts wanted
    below it. auroc: of each score, where a validation could say it."""

    score: str
    threshold: float
    coverage: float
    auroc: dict[str, float]


def auroc(inside: Sequence[float] | Floats, outside: Sequence[float] | Floats) -> float:
    """How often a text out of scope scores higher than one in scope, ties counting half; nan where one has none."""
    inner, outer = np.sort(np.asarray(inside, np.float64)), np.asarray(outside, np.float64)
    if not len(inner) or not len(outer):
        return float("nan")
    below, upto = np.searchsorted(inner, outer, "left"), np.searchsorted(inner, outer, "right")
    return float((below + upto).mean() / 2 / len(inner))


def threshold(inside: Floats, coverage: float) -> float:
    """The least score that at least that share of in-scope texts does not exceed; infinite where there are none."""
    if not len(inside) or coverage >= 1:
        return inf
    return float(np.sort(inside)[min(int(np.ceil(coverage * len(inside))), len(inside)) - 1])


def choose(found: dict[str, list[float]], tasks: int) -> tuple[str, dict[str, float]]:
    """The score with the best mean AUROC over the tasks that were left out.

    Where nothing can say it, it is the energy, which is the same for all texts where there is but one task.
    """
    means = {name: float(np.mean(values)) for name, values in found.items() if values}
    return max(means, key=means.__getitem__, default=SCORES[tasks < 2]), means
