"""ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, by rouge-score, unstemmed."""

import re

from rouge_score.rouge_scorer import RougeScorer

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import PerCase

WORD = re.compile(r"[^\W_]+")


class _Words:
    """Words of any script; rouge-score's own tokeniser drops every letter but a to z."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(text.lower())


SCORER = RougeScorer(["rougeL"], tokenizer=_Words())


class Metric(PerCase):
    """Mean ROUGE-L F1 over the cases, in [0, 1]."""

    def score(self, case: Case) -> float:
        assert case.answer is not None
        return float(SCORER.score(case.expected, case.answer)["rougeL"].fmeasure)
