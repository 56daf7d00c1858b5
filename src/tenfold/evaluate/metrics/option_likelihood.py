"""Accuracy of the most likely option; nothing is generated.

An option's likelihood is the probability that the model answers just this: the product over all its
tokens and EOS, not normalised by its length. EOS is what makes that fair: an option which another one
begins with is not the likelier for being shorter.
"""

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import Need, PerCase
from tenfold.evaluate.metrics._extraction import best_option


class Metric(PerCase):
    """Share of cases whose most likely option is the expected response."""

    binary = True
    need = Need.OPTIONS

    def extract(self, case: Case) -> str:
        return best_option(case)

    def score(self, case: Case) -> float:
        return float(best_option(case) == case.expected.strip())
