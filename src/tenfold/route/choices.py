"""What a router chose on texts whose task is known, as counts: confusion, reliability, coverage."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from tenfold.route.calibration import BINS, Floats, Labels
from tenfold.route.kinds._base import Texts
from tenfold.route.router import Router
from tenfold.store import documents

FILE = "choices.json"
POINTS = 41
"""Places of the curve over the threshold."""


@dataclass(frozen=True)
class Bin:
    """Texts of like confidence: how many, the mean confidence, how many of them were right."""

    n: int
    confidence: float
    right: int


@dataclass(frozen=True)
class Point:
    """What a threshold would give: the share of texts that is answered, and the share right among them."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class Choices:
    """Counts of one measurement.

    tasks: what may be chosen. confusion: by the task that was asked for, how often each of ``tasks`` was chosen, and
    last how often it was left to the base. bins: by confidence, 15 of equal width, empty ones too. curve: over the
    out-of-scope threshold, from the strictest on. now: the point of the threshold in use.
    """

    tasks: tuple[str, ...]
    confusion: dict[str, list[int]]
    bins: list[Bin]
    score: str
    now: Point
    curve: list[Point]


def count(router: Router, asked: Texts) -> Choices | None:
    """Count a router's choices on texts by task; None where there is no text of a task that it knows."""
    known = {name: list(texts) for name, texts in asked.items() if name in router.tasks and texts}
    every = [text for texts in known.values() for text in texts]
    if not every:
        return None
    labels = np.array([router.tasks.index(name) for name, own in known.items() for _ in own], dtype=np.int64)
    scores, limit = router.scores(every), router.abstention.threshold
    best, far = scores.probabilities.argmax(axis=1), scores.out_of_scope
    chosen = np.where(far > limit, len(router.tasks), best)
    right = best == labels
    confusion = {
        name: np.bincount(chosen[labels == router.tasks.index(name)], minlength=len(router.tasks) + 1).tolist()
        for name in known
    }
    return Choices(
        router.tasks, confusion, _bins(scores.probabilities, labels), router.abstention.score,
        _point(limit, far, right), _curve(far, right),
    )  # fmt: skip


def keep(folder: Path, found: Choices | None) -> None:
    """Write them beside the router, whose folder a new fit replaces."""
    if found and folder.is_dir():
        documents.write(folder / FILE, asdict(found))


def _bins(probabilities: Floats, labels: Labels) -> list[Bin]:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    masks = [places == place for place in range(BINS)]
    return [Bin(int(m.sum()), float(confidence[m].mean()) if m.any() else 0.0, int(right[m].sum())) for m in masks]


def _curve(far: Floats, right: Sequence[bool] | np.ndarray) -> list[Point]:
    """At quantiles of the scores, so that the points lie at even coverages."""
    finite = far[np.isfinite(far)]
    limits = np.quantile(finite, np.linspace(0, 1, POINTS)).tolist() if len(finite) else []
    return [_point(limit, far, right) for limit in dict.fromkeys(limits)]


def _point(limit: float, far: Floats, right: Sequence[bool] | np.ndarray) -> Point:
    inside = far <= limit
    accuracy = float(np.asarray(right)[inside].mean()) if inside.any() else 1.0
    return Point(limit if isfinite(limit) else float("nan"), float(inside.mean()), accuracy)
