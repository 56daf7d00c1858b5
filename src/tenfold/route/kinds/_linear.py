"""Features with logistic regression: what tfidf, embedding and hidden have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from tenfold.route.centres import Prototypes, furthest
from tenfold.route.features._base import Floats, Source, Tensors
from tenfold.route.kinds._base import Setting, Texts

if TYPE_CHECKING:
    from tenfold.adapters import Bank


@dataclass(frozen=True)
class Linear:
    """weights (F, N) and offsets (N,) give the logits, prototypes the distances. kind: of the features."""

    quick: ClassVar[bool] = True
    most: ClassVar[int]
    kind: ClassVar[type[Source]]
    features: Source
    weights: NDArray[np.float32]
    offsets: Floats
    prototypes: Prototypes

    @classmethod
    def fit(cls, texts: Texts, setting: Setting) -> Self:
        every, labels = flat(texts)
        features = cls.kind.fit(every, len(texts), setting.argument, setting.bank)
        rows = features.rows(every)
        weights, offsets = setting.solve(rows, labels, len(texts))
        prototypes = Prototypes.of(rows, labels, len(texts), setting.seed)
        return cls(features, weights.astype(np.float32), offsets, prototypes)

    def logits(self, texts: Sequence[str]) -> Floats:
        return self.features.dot(texts, self.weights) + self.offsets

    def distances(self, texts: Sequence[str]) -> Floats:
        return furthest(self.features.dot(texts, self.prototypes.vectors))

    def add(self, task: str, texts: Sequence[str]) -> None:
        return None

    def save(self) -> tuple[dict[str, Any], Tensors]:
        values, tensors = self.features.save()
        return values, {**tensors, "weights": self.weights, "offsets": self.offsets, **self.prototypes.save()}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None" = None) -> Self:
        features = cls.kind.load(values, tensors, bank)
        return cls(features, tensors["weights"], tensors["offsets"], Prototypes.load(tensors))


def flat(texts: Texts) -> tuple[list[str], list[int]]:
    """All texts of all tasks, and the number of each one's task."""
    every = [text for own in texts.values() for text in own]
    return every, [number for number, own in enumerate(texts.values()) for _ in own]
