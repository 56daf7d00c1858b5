"""``results.json``: a flat list of measured values, each with its interval and what it was measured on."""

import json
import pathlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any

from tenfold.adapters.composition import Composition
from tenfold.errors import RunError
from tenfold.statistics import Comparison
from tenfold.store.atomic import write

FLOATS = ("low", "high")
ROUTER = "router"
"""The task of results that are about a router's choices; they have no cases."""


@dataclass(frozen=True)
class Result:
    """One metric of one task's split under one composition.

    stage: the training stage after which it was measured, from 0; -1 before any training, None for the run's end.
    seed: the run's. low, high: 95% interval, nan where there is none. comparison: with the base, on the same cases.
    parameters: of the base and of each adapter that was active.
    """

    task: str
    split: str
    adapter: str
    composition: Composition
    stage: int | None
    seed: int
    metric: str
    value: float
    low: float
    high: float
    n: int
    higher_is_better: bool = True
    seconds: float | None = None
    comparison: Comparison | None = None
    parameters: dict[str, int] | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it this result; measured again, the new value replaces the old."""
        return self.task, self.split, self.adapter, self.composition, self.stage, self.seed, self.metric


def merge_results(old: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """Old and new; of two with the same key the new one, in the old one's place."""
    return list({result.key: result for results in (old, new) for result in results}.values())


def write_results(path: pathlib.Path, results: Iterable[Result]) -> None:
    """Write the file, whole or not at all. JSON has no nan: it is written as null."""
    lines = [json.dumps(_plain(asdict(result)), ensure_ascii=False, allow_nan=False) for result in results]
    write(path, "[\n" + ",\n".join(lines) + "\n]\n")


def read_results(path: pathlib.Path) -> list[Result]:
    """The results in a file; none if there is no file. Raises RunError for one that is torn."""
    if not path.exists():
        return []
    try:
        return [_parse(entry) for entry in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is no list of results: {type(error).__name__}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and isnan(value) else value


def _parse(entry: dict[str, Any]) -> Result:
    composition = tuple((str(name), float(weight)) for name, weight in entry["composition"])
    comparison = Comparison(**_floats(entry["comparison"])) if entry.get("comparison") else None
    return Result(**{**_floats(entry), "composition": composition, "comparison": comparison})


def _floats(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: nan if value is None and key in FLOATS else value for key, value in entry.items()}
