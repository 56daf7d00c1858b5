"""Runs against one another on the same cases: paired tests, as many as there are metrics, adjusted for their number."""

import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tenfold.errors import RunError, nearest
from tenfold.evaluate.cases import Case
from tenfold.evaluate.evaluation import BASE_LABEL
from tenfold.evaluate.matrix import OWN
from tenfold.evaluate.metrics import KL, Measure, Need, find_measure
from tenfold.evaluate.pairs import find_cases, require_same
from tenfold.evaluate.results import ROUTER, Result, read_results
from tenfold.evaluate.transfer import seed_folders
from tenfold.statistics import Comparison, Floats, compare_seeds, holm, is_binary, ratio, sentence

Place = tuple[str, str, str]
"""A task, a split of it, and the label of an adapter."""


@dataclass(frozen=True)
class Side:
    """What is compared: a run, with every adapter in it, or with one: a label, ``own`` for each task's, ``base``."""

    run: pathlib.Path
    adapter: str | None = None

    def __str__(self) -> str:
        return f"{self.run} {self.adapter}" if self.adapter else str(self.run)


@dataclass(frozen=True)
class Finding:
    """One metric of one task's split on both sides.

    adapters: the labels, theirs and ours. n: cases. seeds: how many both have. test: what the p-value is of, which is
    adjusted for all findings together (Holm 1979).
    """

    task: str
    split: str
    metric: str
    adapters: tuple[str, str]
    sides: tuple[str, str]
    higher_is_better: bool
    n: int
    seeds: int
    theirs: float
    ours: float
    test: str
    comparison: Comparison

    def __str__(self) -> str:
        theirs, ours = self.sides
        label = "" if len(set(self.adapters)) > 1 else f" with {self.adapters[0]}"
        return f"{self.task} ({self.split}){label}, {self.metric}: {sentence(self.comparison, ours, theirs)}"


def compare_sides(sides: Sequence[Side], tasks: Sequence[str] | None = None) -> list[Finding]:
    """Every side after the first against the first, on every metric that both kept the cases of.

    Raises RunError for runs that were not measured, have nothing in common, or whose cases are not of the same rows.
    """
    first, *others = sides
    found = [one for other in others for one in _pair(first, other, tasks)]
    adjusted = holm([one.comparison for one in found])
    return [replace(one, comparison=comparison) for one, comparison in zip(found, adjusted, strict=True)]


def _pair(theirs: Side, ours: Side, tasks: Sequence[str] | None) -> list[Finding]:
    folders = _common_seeds(theirs, ours)
    before, after = (_measured(side, folder) for side, folder in zip((theirs, ours), folders[0], strict=True))
    found = []
    for a, b in _places(theirs, ours, before, after):
        if tasks is None or a[0] in tasks:
            metrics = [metric for metric in after[b] if metric in before[a]]
            every = [_finding((theirs, ours), (a, b), (before[a][m], after[b][m]), folders) for m in metrics]
            found += [one for one in every if one]
    if not found:
        raise RunError(
            f"{theirs} and {ours} have nothing in common: {_shown(before)} and {_shown(after)}; see --adapter"
        )
    return found


def _common_seeds(theirs: Side, ours: Side) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """The folders of both for each seed that both have; where each has one, whatever seed that is."""
    one, other = ({_seed(folder): folder for folder in seed_folders(side.run)} for side in (theirs, ours))
    if len(one) == len(other) == 1:
        return list(zip(one.values(), other.values(), strict=True))
    common = [(one[seed], other[seed]) for seed in one if seed in other]
    if not common:
        raise RunError(f"{theirs.run} has the seeds {sorted(one)}, {ours.run} has {sorted(other)}: none in common")
    return common


def _seed(folder: pathlib.Path) -> int:
    return next((one.seed for one in _final(folder)), 0)


def _final(folder: pathlib.Path) -> list[Result]:
    """What was measured at the end of a run, or after its last stage. Raises RunError where nothing was."""
    results = [one for one in read_results(folder / "results.json") if one.task != ROUTER]
    if not results:
        raise RunError(f"{folder}: nothing was measured there; use `tenfold evaluate {folder}`")
    ends = [one for one in results if one.stage is None]
    last = max((one.stage for one in results if one.stage is not None), default=None)
    return ends or [one for one in results if one.stage == last]


def _measured(side: Side, folder: pathlib.Path) -> dict[Place, dict[str, Result]]:
    """By task, split and adapter the results by metric, of the adapters that the side asks for."""
    found: dict[Place, dict[str, Result]] = {}
    for one in _final(folder):
        if _asked(side, one):
            found.setdefault((one.task, one.split, one.adapter), {})[one.metric] = one
    if not found:
        there = sorted({one.adapter for one in _final(folder)})
        hint = nearest(side.adapter or "", there)
        raise RunError(f"{side.run}: no adapter {side.adapter!r} was measured; there are: {', '.join(there)}{hint}")
    return found


def _asked(side: Side, one: Result) -> bool:
    if side.adapter is None:
        return one.adapter != BASE_LABEL
    return one.adapter == (one.task if side.adapter == OWN else side.adapter)


def _places(
    theirs: Side, ours: Side, before: dict[Place, dict[str, Result]], after: dict[Place, dict[str, Result]]
) -> Iterator[tuple[Place, Place]]:
    """What stands beside what: the same task and split, and the same adapter unless both sides name theirs."""
    free = theirs.adapter is not None and ours.adapter is not None
    for a in before:
        for b in after:
            if a[:2] == b[:2] and (free or a[2] == b[2]):
                yield a, b


def _finding(
    sides: tuple[Side, Side],
    places: tuple[Place, Place],
    results: tuple[Result, Result],
    folders: Sequence[tuple[pathlib.Path, pathlib.Path]],
) -> Finding | None:
    """One metric on both sides; None where what it is made of is no longer in the cases."""
    (task, split, _), measure = places[0], find_measure(results[0].metric)
    pairs = [_cases(sides, both, results) for both in folders]
    if not all(_whole(measure, cases) for pair in pairs for cases in pair):
        return None
    for pair, both in zip(pairs[1:], folders[1:], strict=True):
        require_same(pairs[0][0], pair[0], (str(folders[0][0]), str(both[0])), f"{task} ({split})")
    rows = [_rows(measure, *pair) for pair in pairs]
    theirs, ours = [a for a, _ in rows], [b for _, b in rows]
    comparison = compare_seeds(
        ours, theirs, measure.statistic, higher_is_better=measure.higher_is_better, bounds=measure.bounds
    )
    return Finding(
        task, split, measure.name, (places[0][2], places[1][2]), (str(sides[0]), str(sides[1])),
        measure.higher_is_better, n=len(ours[0]), seeds=len(pairs), theirs=_value(measure, theirs),
        ours=_value(measure, ours), test=_test(measure, (*theirs, *ours)), comparison=comparison,
    )  # fmt: skip


def _cases(
    sides: tuple[Side, Side], folders: tuple[pathlib.Path, pathlib.Path], results: tuple[Result, Result]
) -> tuple[list[Case], list[Case]]:
    theirs, ours = (_kept(folder, one) for folder, one in zip(folders, results, strict=True))
    require_same(theirs, ours, (str(sides[0]), str(sides[1])), f"{results[0].task} ({results[0].split})")
    return theirs, ours


def _kept(folder: pathlib.Path, one: Result) -> list[Case]:
    cases = find_cases(folder, one.task, one.split, one.adapter, one.stage)
    if not cases:
        raise RunError(f"{folder}: the cases of {one.task} ({one.split}) with {one.adapter} are not there")
    return cases


def _whole(measure: Measure, cases: Sequence[Case]) -> bool:
    """Whether the cases still have what the measure looks at: measured again without it, they have not."""
    if measure is KL:
        return any(case.kl is not None for case in cases)
    return measure.need is not Need.LOSS or all(case.nats is not None for case in cases)


def _rows(measure: Measure, theirs: Sequence[Case], ours: Sequence[Case]) -> tuple[Floats, Floats]:
    if measure is KL:  # a sample, which may not be the same on both sides
        both = [(a, b) for a, b in zip(theirs, ours, strict=True) if a.kl is not None and b.kl is not None]
        theirs, ours = [a for a, _ in both], [b for _, b in both]
    return measure.rows(theirs), measure.rows(ours)


def _value(measure: Measure, rows: Sequence[Floats]) -> float:
    """Of the cases of all seeds together."""
    return float(measure.statistic(np.concatenate(rows).sum(axis=0, keepdims=True))[0])


def _test(measure: Measure, rows: Sequence[Floats]) -> str:
    binary = measure.statistic is ratio and len(rows) == 2 and all(map(is_binary, rows))
    return "McNemar" if binary else "bootstrap" if len(rows) == 2 else "bootstrap and t"


def _shown(places: dict[Place, dict[str, Result]]) -> str:
    return ", ".join(f"{task} ({split}) with {adapter}" for task, split, adapter in list(places)[:4]) or "nothing"
