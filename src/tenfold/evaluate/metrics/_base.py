"""The contract of a metric: what a file in this folder exports as ``Metric``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import Any, ClassVar

import numpy as np

from tenfold.errors import ConfigError, nearest
from tenfold.evaluate.cases import Case
from tenfold.statistics import Bounds, Floats, Statistic, mean_rows, ratio


class Need(Enum):
    """What must be computed for a case before the metric can look at it."""

    ANSWER = "generated text"
    OPTIONS = "the log-probability of every option"
    LOSS = "the log-probability of the expected response"


class Measure(ABC):
    """A metric over cases, as rows whose sums ``tenfold.statistics`` makes a value with an interval of.

    name: as written in ``metrics``, with what stands behind the colon. bounds: its least and greatest
    value, where it has such. binary: each case is right or wrong. arguments: what may stand behind the
    colon.
    """

    need: Need = Need.ANSWER
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[Bounds | None] = (0.0, 1.0)
    binary: ClassVar[bool] = False
    arguments: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, argument: str | None) -> None:
        if argument is not None and argument not in self.arguments:
            allowed = f"one of {', '.join(self.arguments)}" if self.arguments else "nothing behind a colon"
            hint = nearest(argument, self.arguments)
            raise ConfigError(f"metric {name!r}: {argument!r} is unknown; {name.split(':')[0]} takes {allowed}{hint}")
        self.name = name

    def extract(self, case: Case) -> Any:
        """What of the answer is compared with the expected response; None where nothing is taken out."""
        return None

    @abstractmethod
    def score(self, case: Case) -> float | None:
        """The score of one case; None where the metric has a meaning only over many."""

    @abstractmethod
    def rows(self, cases: Sequence[Case]) -> Floats:
        """(N, K) rows, one a case, whose column sums ``statistic`` maps to the value."""

    @property
    @abstractmethod
    def statistic(self) -> Statistic:
        """(M, K) column sums -> (M,) values."""


class PerCase(Measure):
    """A metric that is the mean of the scores of single cases."""

    @abstractmethod
    def score(self, case: Case) -> float:
        """The score of one case, within ``bounds``."""

    def rows(self, cases: Sequence[Case]) -> Floats:
        return mean_rows([self.score(case) for case in cases])

    @property
    def statistic(self) -> Statistic:
        return ratio


def counted(values: Sequence[Sequence[float]]) -> Floats:
    """Rows of counts as an array (N, K)."""
    return np.asarray(values, dtype=np.float64)
