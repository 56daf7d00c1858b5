"""Corpus metrics of sacrebleu (Post 2018), resampled through its statistics of each segment."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import Measure, counted
from tenfold.statistics import Bounds, Floats, Statistic


class Corpus(Measure):
    """A score in [0, 100] over all cases at once; a single case has none."""

    bounds: ClassVar[Bounds | None] = (0.0, 100.0)
    scorer: ClassVar[Any]

    def score(self, case: Case) -> None:
        return None

    def rows(self, cases: Sequence[Case]) -> Floats:
        """(N, K) n-gram counts; sacrebleu's own significance tests resample the same ones."""
        answers = [case.answer or "" for case in cases]
        return counted(self.scorer._extract_corpus_statistics(answers, [[case.expected for case in cases]]))

    @property
    def statistic(self) -> Statistic:
        return self._scores

    def _scores(self, sums: Floats) -> Floats:
        return np.array([self.scorer._compute_score_from_stats(row.tolist()).score for row in sums])
