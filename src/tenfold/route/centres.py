"""Prototypes: a few mean directions of each task's rows, and how near a row is to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.route.features._base import Floats, Matrix, Sparse, Tensors

MOST_EACH, MOST = 8, 100
ROWS_EACH = 25
ROUNDS = 8


@dataclass(frozen=True)
class Prototypes:
    """vectors (F, M) of length one, and the number of the task that each belongs to (M,)."""

    vectors: NDArray[np.float32]
    owners: NDArray[np.int64]

    @classmethod
    def of(cls, features: Matrix, labels: Sequence[int], classes: int, seed: int = 0) -> "Prototypes":
        """Spherical k-means in each task (Dhillon and Modha 2001): more for more rows, fewer for more tasks."""
        every, each, own = np.asarray(labels), max(1, min(MOST_EACH, MOST // classes)), np.zeros(len(labels), np.int64)
        counts = [max(1, min(each, int((every == label).sum()) // ROWS_EACH)) for label in range(classes)]
        starts = np.cumsum([0, *counts])
        generator = np.random.default_rng(seed)
        for label in range(classes):
            own[every == label] = starts[label] + generator.permutation(int((every == label).sum())) % counts[label]
        vectors = means(features, own, int(starts[-1]))
        for _ in range(ROUNDS if max(counts) > 1 else 0):
            near = _dot(features, vectors)
            for label in range(classes):
                rows = every == label
                own[rows] = starts[label] + near[rows, starts[label] : starts[label + 1]].argmax(axis=1)
            vectors = means(features, own, int(starts[-1]))
        return cls(vectors, np.repeat(np.arange(classes), counts))

    def nearest(self, cosines: Floats) -> Floats:
        """(B, M) cosines -> (B, N): with the nearest prototype of each task."""
        starts = np.flatnonzero(np.diff(self.owners, prepend=-1))
        return np.asarray(np.maximum.reduceat(cosines, starts, axis=1))

    def grown(self, features: Matrix, width: int, places: NDArray[np.int64] | None = None) -> "Prototypes":
        """With one task more. places: where the old features stand among ``width`` of them now."""
        new = Prototypes.of(features, [0] * rows(features), 1)
        old = np.zeros((width, self.vectors.shape[1]), np.float32)
        old[slice(None) if places is None else places] = self.vectors
        owners = np.concatenate([self.owners, new.owners + self.owners[-1] + 1])
        return Prototypes(np.concatenate([old, new.vectors], axis=1), owners)

    def save(self) -> Tensors:
        """For ``load``."""
        return {"prototypes": self.vectors, "owners": self.owners}

    @classmethod
    def load(cls, tensors: Tensors) -> "Prototypes":
        """What ``save`` gave."""
        return cls(tensors["prototypes"], tensors["owners"])


def rows(features: Matrix) -> int:
    """B."""
    return len(features.starts) - 1 if isinstance(features, Sparse) else len(features)


def _dot(features: Matrix, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, F) times (F, M) -> (B, M)."""
    if not isinstance(features, Sparse):
        return np.asarray(features @ vectors)
    bounds = zip(features.starts, features.starts[1:], strict=False)
    return np.stack([features.values[a:b] @ vectors[features.columns[a:b]] for a, b in bounds])


def means(features: Matrix, own: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """(B, F) rows, each with the number of its group -> (F, count): the mean direction of each group."""
    width = features.width if isinstance(features, Sparse) else features.shape[1]
    found = np.zeros((width, count), np.float32)
    for row, place in enumerate(own):
        if isinstance(features, Sparse):
            part = slice(features.starts[row], features.starts[row + 1])
            found[features.columns[part], place] += features.values[part]
        else:
            found[:, place] += features[row]
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=0), 1e-12), np.float32)


def furthest(cosines: Floats) -> Floats:
    """(B, M) cosines -> (B,): one minus the largest."""
    return np.asarray(1.0 - cosines.max(axis=1), np.float64)
