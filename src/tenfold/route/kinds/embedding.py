"""Sentence embeddings with logistic regression: MiniLM, or embedding:NAME for any of sentence-transformers' models."""

from typing import ClassVar

from tenfold.route.features._base import Source
from tenfold.route.features.embedding import Features
from tenfold.route.kinds._linear import Linear


class Scorer(Linear):
    """Linear over sentence embeddings."""

    most: ClassVar[int] = 2_000
    kind: ClassVar[type[Source]] = Features
