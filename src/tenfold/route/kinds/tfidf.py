"""Hashed n-grams of words and characters with logistic regression: no model, below a millisecond a text."""

from typing import ClassVar

from tenfold.route.features._base import Source
from tenfold.route.features.tfidf import Features
from tenfold.route.kinds._linear import Linear


class Scorer(Linear):
    """Linear over n-grams."""

    most: ClassVar[int] = 20_000
    kind: ClassVar[type[Source]] = Features
