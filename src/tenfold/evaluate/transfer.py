"""The matrix of a run folder with its intervals: over rows from the kept cases, over seeds from the runs of each."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import Any

from tenfold.errors import RunError
from tenfold.evaluate import matrix
from tenfold.evaluate.cases import BEFORE
from tenfold.evaluate.evaluation import BASE_LABEL
from tenfold.evaluate.matrix import FULL, OWN, STACKED, Matrix, Term
from tenfold.evaluate.metrics import find_measure
from tenfold.evaluate.pairs import find_cases, require_same
from tenfold.evaluate.results import Result, read_results
from tenfold.statistics import Estimate, average, compare, over_seeds
from tenfold.store import documents

FILE = "matrix.json"


@dataclass(frozen=True)
class Stage:
    """name: as the plan has it. trains: its learners. parameters: of the base and all adapters that there are then."""

    number: int
    name: str
    trains: list[str]
    parameters: int | None


@dataclass(frozen=True)
class Seed:
    """What one seed's run gives: a matrix for each metric and composition, and its summaries with row intervals."""

    seed: int
    matrices: list[Matrix]
    summaries: dict[tuple[str, str], dict[str, Estimate]]


@dataclass(frozen=True)
class Transfer:
    """Everything that the matrix of a run says. over_seeds: where there are several, the mean of each summary with
    Student's t interval. trained: by the number of a stage the tasks whose rows something trained on."""

    stages: list[Stage]
    seeds: list[Seed]
    over_seeds: dict[tuple[str, str], dict[str, Estimate]]
    trained: dict[int, list[str]]

    @property
    def shown(self) -> list[Matrix]:
        """What the tasks were trained for: each with its own adapters, with all of them, or what they share."""
        every = self.seeds[0].matrices
        meant = [one for one in every if one.composition in (OWN, STACKED)]
        return meant or [one for one in every if one.composition not in (BASE_LABEL, FULL)]


def seed_folders(run: pathlib.Path) -> list[pathlib.Path]:
    """The folder of each seed of a run; the run's own where it has one seed."""
    found = [path for path in run.glob("seed-*") if path.name.removeprefix("seed-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed-"))) or [run]


def measure_transfer(run: pathlib.Path) -> Transfer | None:
    """The matrices and summaries of a run; None where no stage of it was measured. Raises RunError for torn files."""
    seeds, stages, trained = [], list[Stage](), dict[int, list[str]]()
    for folder in seed_folders(run):
        results = [one for one in read_results(folder / "results.json") if one.stage is not None]
        if results:
            plan = documents.read_object(folder / "plan.json", RunError)
            stages, trained = stages or _stages(results, plan), trained or _trained(plan["stages"])
            seeds.append(_seed(folder, results, plan["stages"]))
    return Transfer(stages, seeds, _over_seeds(seeds), trained) if seeds else None


def keep_transfer(run: pathlib.Path) -> Transfer | None:
    """The same, written to the run's ``matrix.json``."""
    found = measure_transfer(run)
    if found:
        documents.write(run / FILE, _plain(found))
    return found


def _stages(results: Sequence[Result], plan: Mapping[str, Any]) -> list[Stage]:
    sizes = plan.get("parameters", [])
    plain = next((one.parameters["base"] for one in results if one.parameters), None)
    found = []
    for number in sorted({one.stage for one in results if one.stage is not None}):
        if number == BEFORE:
            found.append(Stage(number, "before training", [], plain))
        else:
            own = plan["stages"][number]
            trains = list(dict.fromkeys(name for lane in own["lanes"] for name in lane["learners"]))
            found.append(Stage(number, own["name"], trains, sizes[number] if sizes else None))
    return found


def _trained(plan: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    return {
        number: list(dict.fromkeys(feed["task"] for lane in one["lanes"] if lane["learners"] for feed in lane["feeds"]))
        for number, one in enumerate(plan)
    }


def _seed(folder: pathlib.Path, results: Sequence[Result], plan: Sequence[Mapping[str, Any]]) -> Seed:
    found, first = matrix.build(results), matrix.first_trained(plan)
    measured = {
        (one.metric, one.composition): {
            name: average([_estimate(folder, term) for term in terms])
            for name, terms in matrix.summaries(one, first).items()
        }
        for one in found
    }
    return Seed(results[0].seed, found, measured)


def _estimate(folder: pathlib.Path, term: Term) -> Estimate:
    """A term with the interval of its cell, or of the paired difference on the same cases where these were kept."""
    cell, less = term.cell, term.less
    if less is None:
        return Estimate(cell.value, cell.low, cell.high, cell.n)
    measure = find_measure(cell.metric)
    ours, theirs = (find_cases(folder, one.task, one.split, one.adapter, one.stage) for one in (cell, less))
    if not ours or not theirs:
        return Estimate(term.value, nan, nan, cell.n)
    require_same(ours, theirs, (f"stage {cell.stage}", f"stage {less.stage}"), f"{folder}: {cell.task} {cell.split}")
    found = compare(measure.rows(ours), measure.rows(theirs), measure.statistic, bounds=measure.bounds)
    low, high = sorted((term.sign * found.low, term.sign * found.high))
    return Estimate(term.value, low, high, cell.n)


def _over_seeds(seeds: Sequence[Seed]) -> dict[tuple[str, str], dict[str, Estimate]]:
    if len(seeds) < 2:
        return {}
    return {
        key: {
            name: over_seeds([seed.summaries[key][name].value for seed in seeds])
            for name in names
            if all(name in seed.summaries.get(key, {}) for seed in seeds)
        }
        for key, names in seeds[0].summaries.items()
    }


def _plain(found: Transfer) -> dict[str, Any]:
    """As JSON: matrices as lists of cells, summaries as a flat list; ``seed`` is null for the mean over seeds."""
    cells = [
        {"seed": seed.seed, "metric": one.metric, "composition": one.composition, "stage": stage, "task": task,
         "split": split, "value": cell.value, "low": cell.low, "high": cell.high, "n": cell.n, "adapter": cell.adapter}
        for seed in found.seeds for one in seed.matrices for stage, row in one.cells.items()
        for (task, split), cell in row.items()
    ]  # fmt: skip
    every = [(seed.seed, seed.summaries) for seed in found.seeds] + [(None, found.over_seeds)]
    summaries = [
        {"seed": seed, "metric": metric, "composition": composition, "name": name, **asdict(one)}
        for seed, own in every for (metric, composition), named in own.items() for name, one in named.items()
    ]  # fmt: skip
    return {"stages": [asdict(stage) for stage in found.stages], "cells": cells, "summaries": summaries}
