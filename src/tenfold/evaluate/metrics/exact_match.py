"""Exact match: the answer is the expected response, white space around both aside."""

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import PerCase


class Metric(PerCase):
    """Share of answers that are the expected response."""

    binary = True

    def extract(self, case: Case) -> str:
        assert case.answer is not None
        return case.answer.strip()

    def score(self, case: Case) -> float:
        return float(self.extract(case) == case.expected.strip())
