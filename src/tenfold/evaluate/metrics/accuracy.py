"""Accuracy of what is taken out of the generated answer, e.g. ``accuracy:first_integer``."""

from typing import Any, ClassVar

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import PerCase
from tenfold.evaluate.metrics._extraction import EXTRACTIONS, fitting


class Metric(PerCase):
    """Share of answers that say what is expected. Without an argument the expected response decides what
    is looked for: an integer, a word, JSON, else the whole text."""

    binary = True
    arguments: ClassVar[tuple[str, ...]] = tuple(EXTRACTIONS)

    def __init__(self, name: str, argument: str | None) -> None:
        super().__init__(name, argument)
        self.extraction = EXTRACTIONS[argument] if argument else None

    def extract(self, case: Case) -> Any:
        assert case.answer is not None
        return (self.extraction or fitting(case.expected))(case.answer)

    def score(self, case: Case) -> float:
        expected = (self.extraction or fitting(case.expected))(case.expected)
        return float(self.extract(case) == expected and expected is not None)
