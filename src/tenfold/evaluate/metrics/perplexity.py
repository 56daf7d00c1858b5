"""Perplexity: exp of the loss."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import Measure, Need
from tenfold.evaluate.metrics.loss import token_rows
from tenfold.statistics import Bounds, Floats, Statistic, ratio


class Metric(Measure):
    """exp of the mean nats a token over all supervised tokens of all cases; at least 1."""

    need = Need.LOSS
    higher_is_better = False
    bounds: ClassVar[Bounds | None] = None

    def score(self, case: Case) -> float:
        assert case.nats is not None
        assert case.tokens
        return float(np.exp(case.nats / case.tokens))

    def rows(self, cases: Sequence[Case]) -> Floats:
        return token_rows(cases)

    @property
    def statistic(self) -> Statistic:
        return perplexity


def perplexity(sums: Floats) -> Floats:
    """(M, 2) nats and tokens -> (M,)."""
    return np.asarray(np.exp(ratio(sums)))
