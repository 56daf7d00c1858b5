"""The contract of features: what a file in this folder exports as ``Features``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import ConfigError

if TYPE_CHECKING:
    from tenfold.adapters import Bank

Floats = NDArray[np.float64]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Sparse:
    """Rows (B, F) of which few numbers are not zero: row i has ``values[starts[i]:starts[i + 1]]`` at ``columns``."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]
    width: int


Matrix = Sparse | NDArray[np.float32]


class Source(Protocol):
    """From texts to rows whose length is at most one."""

    @classmethod
    def fit(cls, texts: Sequence[str], tasks: int, argument: str | None, bank: "Bank | None") -> Self:
        """Learn what there is to learn from the texts of so many tasks. Raises TenfoldError for what is not there."""

    def rows(self, texts: Sequence[str]) -> Matrix:
        """(B,) texts -> (B, F)."""

    def dot(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Floats:
        """(B,) texts, (F, M) -> (B, M): the products of their rows."""

    def grown(self, texts: Sequence[str]) -> tuple[Self, int, NDArray[np.int64] | None]:
        """With what the texts of one task more hold: F, and where the old features stand now (None: as they did)."""

    def save(self) -> tuple[dict[str, Any], Tensors]:
        """For ``load``."""

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None") -> Self:
        """What ``save`` gave. Raises TenfoldError for what is not there."""


def refuse(name: str, argument: str | None) -> None:
    """Raises ConfigError for an argument of what takes none."""
    if argument is not None:
        raise ConfigError(f"router: {name}:{argument} given, but {name} takes nothing behind a colon")
