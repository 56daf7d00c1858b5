"""The base model's own hidden states of the text with logistic regression: no second model."""

from typing import ClassVar

from tenfold.route.features._base import Source
from tenfold.route.features.hidden import Features
from tenfold.route.kinds._linear import Linear


class Scorer(Linear):
    """Linear over hidden states."""

    most: ClassVar[int] = 1_000
    kind: ClassVar[type[Source]] = Features
