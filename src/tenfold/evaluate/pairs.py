"""Cases of two evaluations, side by side: read from the files of runs, and held to be the same rows."""

import functools
import pathlib
from collections.abc import Sequence

from tenfold.errors import RunError
from tenfold.evaluate.cases import Case, case_file, case_folder, read_cases

SHOWN = 60


@functools.lru_cache(maxsize=32)
def _file(path: pathlib.Path, changed: int) -> tuple[Case, ...]:
    return tuple(read_cases(path))


def find_cases(run: pathlib.Path, task: str, split: str, adapter: str, stage: int | None = None) -> list[Case]:
    """The cases that a run kept of a task's split under an adapter; none where it kept none.

    Raises RunError for a file that is torn.
    """
    path = case_file(case_folder(run, stage), task, adapter)
    if not path.is_file():
        return []
    return [case for case in _file(path, path.stat().st_mtime_ns) if case.split == split]


def require_same(ours: Sequence[Case], theirs: Sequence[Case], sides: tuple[str, str], where: str) -> None:
    """Raises RunError with the first case that is not of the same row, or with both numbers of cases."""
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False), 1):
        for key in ("index", "prompt", "expected"):
            values = getattr(one, key), getattr(other, key)
            if values[0] != values[1]:
                shown = " and ".join(f"{_short(v)} in {s}" for v, s in zip(values, sides, strict=True))
                raise RunError(f"{where}: case {number} is not of the same row: {key} is {shown}")
    if len(ours) != len(theirs):
        raise RunError(f"{where}: {sides[0]} has {len(ours)} cases, {sides[1]} has {len(theirs)}")


def _short(value: object) -> str:
    """The value, or of a long text its end: what texts of one template differ in."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"...{text[-SHOWN:]}"
