"""The nearest of a few prototypes of each task, over n-grams (nearest) or embeddings (nearest:embedding).

Nothing is fitted that ties tasks together, so that one more can be added at any time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tenfold.route import features
from tenfold.route.centres import Prototypes, furthest
from tenfold.route.features._base import Floats, Source, Tensors
from tenfold.route.kinds._base import Setting, Texts
from tenfold.route.kinds._linear import flat

if TYPE_CHECKING:
    from tenfold.adapters import Bank

SHARPNESS = 20.0  # from cosines to logits; the temperature settles the rest


@dataclass(frozen=True)
class Scorer:
    """name: of the features."""

    quick: ClassVar[bool] = True
    most: ClassVar[int] = 2_000
    name: str
    source: Source
    prototypes: Prototypes

    @classmethod
    def fit(cls, texts: Texts, setting: Setting) -> "Scorer":
        name, colon, inner = (setting.argument or "tfidf").partition(":")
        every, labels = flat(texts)
        source = features.find(name).fit(every, len(texts), inner if colon else None, setting.bank)
        return cls(name, source, Prototypes.of(source.rows(every), labels, len(texts), setting.seed))

    def logits(self, texts: Sequence[str]) -> Floats:
        return SHARPNESS * self.prototypes.nearest(self._cosines(texts))

    def distances(self, texts: Sequence[str]) -> Floats:
        return furthest(self._cosines(texts))

    def add(self, task: str, texts: Sequence[str]) -> "Scorer":
        source, width, places = self.source.grown(texts)
        return Scorer(self.name, source, self.prototypes.grown(source.rows(texts), width, places))

    def save(self) -> tuple[dict[str, Any], Tensors]:
        values, tensors = self.source.save()
        return {"features": self.name, **values}, {**tensors, **self.prototypes.save()}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None" = None) -> "Scorer":
        name = str(values["features"])
        return cls(name, features.find(name).load(values, tensors, bank), Prototypes.load(tensors))

    def _cosines(self, texts: Sequence[str]) -> Floats:
        return self.source.dot(texts, self.prototypes.vectors)
