"""Macro F1 over the classes that are expected: F1 of each class, averaged, however rare it is."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import Measure, Need, counted
from tenfold.evaluate.metrics._extraction import EXTRACTIONS, best_option, fitting
from tenfold.statistics import Floats, Statistic


class Metric(Measure):
    """F1 of each class averaged; ``macro_f1:options`` classifies by the most likely option, else the
    argument says what is taken out of the answer, as for accuracy. An answer that is no class is wrong
    but not a class of its own. A resample averages over the classes that are in it.
    """

    arguments: ClassVar[tuple[str, ...]] = (*EXTRACTIONS, "options")

    def __init__(self, name: str, argument: str | None) -> None:
        super().__init__(name, argument)
        self.need = Need.OPTIONS if argument == "options" else Need.ANSWER
        self.extraction = EXTRACTIONS.get(argument or "")

    def extract(self, case: Case) -> Any:
        return best_option(case) if self.need is Need.OPTIONS else self._read(case, case.answer)

    def score(self, case: Case) -> None:
        return None

    def rows(self, cases: Sequence[Case]) -> Floats:
        """(N, 3C): for each of C classes whether the case is a hit, an answer, an expectation of it."""
        found, expected = [str(self.extract(c)) for c in cases], [str(self._expected(c)) for c in cases]
        classes = sorted(set(expected))
        return counted(
            [
                [float(v) for k in classes for v in (f == e == k, f == k, e == k)]
                for f, e in zip(found, expected, strict=True)
            ]
        )

    @property
    def statistic(self) -> Statistic:
        return mean_f1

    def _expected(self, case: Case) -> Any:
        return case.expected.strip() if self.need is Need.OPTIONS else self._read(case, case.expected)

    def _read(self, case: Case, text: str | None) -> Any:
        assert text is not None
        return (self.extraction or fitting(case.expected))(text)


def mean_f1(sums: Floats) -> Floats:
    """(M, 3C) counts of hits, answers and expectations by class -> (M,) mean F1 of the classes expected."""
    hit, answered, expected = np.moveaxis(sums.reshape(len(sums), -1, 3), 2, 0)
    there = expected > 0
    f1 = np.divide(2 * hit, answered + expected, out=np.zeros_like(hit), where=there)
    return np.asarray(f1.sum(axis=1) / np.maximum(there.sum(axis=1), 1))
