"""What an adapter does to the base's general ability: not a task's metrics, but measured beside them."""

from collections.abc import Sequence
from typing import ClassVar

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import Measure, Need, counted
from tenfold.evaluate.metrics.loss import token_rows
from tenfold.statistics import Bounds, Floats, Statistic, ratio


class Divergence(Measure):
    """Mean KL(base || base with adapter) in nats a position (Kullback and Leibler 1951): how far the adapter moves the
    distribution over the next token, on prompts of the task that it was trained for."""

    need = Need.LOSS
    higher_is_better = False
    bounds: ClassVar[Bounds | None] = None

    def score(self, case: Case) -> float | None:
        return case.kl / case.positions if case.kl is not None and case.positions else None

    def rows(self, cases: Sequence[Case]) -> Floats:
        """(N, 2): nats and positions of the cases that were measured, which may be a sample."""
        return counted([[case.kl, float(case.positions or 0)] for case in cases if case.kl is not None])

    @property
    def statistic(self) -> Statistic:
        return ratio


class GeneralLoss(Measure):
    """Loss on text that belongs to no task, in nats a token."""

    need = Need.LOSS
    higher_is_better = False
    bounds: ClassVar[Bounds | None] = None

    def score(self, case: Case) -> float | None:
        return case.nats / case.tokens if case.nats is not None and case.tokens else None

    def rows(self, cases: Sequence[Case]) -> Floats:
        return token_rows(cases)

    @property
    def statistic(self) -> Statistic:
        return ratio


KL = Divergence("kl_to_base", None)
GENERAL = GeneralLoss("general_loss", None)
DRIFT: dict[str, Measure] = {measure.name: measure for measure in (KL, GENERAL)}
"""By the names that results have them under."""
