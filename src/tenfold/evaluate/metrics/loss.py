"""Loss: minus the mean log-probability of the expected tokens, in nats a token."""

from collections.abc import Sequence
from typing import ClassVar

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import Measure, Need, counted
from tenfold.statistics import Bounds, Floats, Statistic, ratio


class Metric(Measure):
    """Mean over all supervised tokens of all cases: a longer response counts for more, as in training."""

    need = Need.LOSS
    higher_is_better = False
    bounds: ClassVar[Bounds | None] = None

    def score(self, case: Case) -> float:
        assert case.nats is not None
        assert case.tokens
        return case.nats / case.tokens

    def rows(self, cases: Sequence[Case]) -> Floats:
        return token_rows(cases)

    @property
    def statistic(self) -> Statistic:
        return ratio


def token_rows(cases: Sequence[Case]) -> Floats:
    """(N, 2): each case's nats and tokens."""
    return counted([[case.nats or 0.0, float(case.tokens or 0)] for case in cases])
