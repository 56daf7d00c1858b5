"""Share of answers that are JSON as a whole, as a program would read them."""

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import PerCase
from tenfold.evaluate.metrics._extraction import parse_json


class Metric(PerCase):
    """Whether the whole answer is JSON (RFC 8259), white space around it aside."""

    binary = True

    def score(self, case: Case) -> float:
        assert case.answer is not None
        text = case.answer.strip()
        return float(text == "null" or parse_json(text) is not None)
