"""From results to the rows of the tables that are shown, in a terminal or on a page."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan
from typing import Protocol

from tenfold.evaluate.evaluation import BASE_LABEL
from tenfold.evaluate.matrix import NAMES, Column, Matrix
from tenfold.evaluate.metrics import DRIFT, GENERAL, KL
from tenfold.evaluate.results import Result
from tenfold.evaluate.transfer import Transfer
from tenfold.statistics import Estimate, over_seeds

DRIFT_HEADERS = ("task", "adapter", "KL to the base ↓", "general loss ↓, base", "with adapter", "verdict")
SUMMARY_HEADERS = ("metric", "composition", "seed", *NAMES)


class Measured(Protocol):
    """What was measured with a metric, and which way is better."""

    @property
    def metric(self) -> str: ...

    @property
    def higher_is_better(self) -> bool: ...


@dataclass(frozen=True)
class TableRow:
    """One line to print, all as text: base and adapted are values with intervals, gain is the difference."""

    task: str
    metric: str
    adapter: str
    n: str
    base: str
    adapted: str
    gain: str
    verdict: str
    seconds: str


def table(results: Iterable[Result]) -> list[TableRow]:
    """A row for each task, split, metric and adapter beside the base; the base alone where there is no
    adapter. A metric that is better when lower carries a down arrow. ``DRIFT`` has a table of its own."""
    results = [result for result in results if result.metric not in DRIFT]
    bases = {_place(result): result for result in results if not result.composition}
    adapted = [result for result in results if result.composition]
    accompanied = {_place(result) for result in adapted}
    names = name_columns((one.task, one.split) for one in results)
    alone = [(base, None) for place, base in bases.items() if place not in accompanied]
    rows = [*((bases.get(_place(result)), result) for result in adapted), *alone]
    return [_row(base, result, names) for base, result in rows]


@dataclass(frozen=True)
class DriftRow:
    """One line to print: how far an adapter moves the base, and the loss on general text with and without it."""

    task: str
    adapter: str
    kl: str
    base: str
    general: str
    verdict: str


def drift_table(results: Iterable[Result]) -> list[DriftRow]:
    """A row for each task and adapter of which ``DRIFT`` was measured."""
    results = list(results)
    drifts = [one for one in results if one.metric in DRIFT and one.composition]
    return [_drift(task, adapter, results) for task, adapter in dict.fromkeys((d.task, d.adapter) for d in drifts)]


def summary_rows(found: Transfer) -> Iterator[tuple[str, str, str, list[Estimate | None]]]:
    """Metric, composition, seed and the summaries in the order of ``NAMES``: a row for each seed, with intervals over
    rows, and one for the mean of several, with intervals over seeds."""
    for one in found.shown:
        key = (one.metric, one.composition)
        every = [(str(seed.seed), seed.summaries.get(key, {})) for seed in found.seeds]
        if key in found.over_seeds:
            every.append((f"mean of {len(found.seeds)}", found.over_seeds[key]))
        for seed, own in every:
            yield show_metric(one), one.composition, seed, [own.get(name) for name in NAMES]


def find_cell(found: Transfer, one: Matrix, stage: int, column: Column) -> Result | Estimate | None:
    """A cell of a matrix: one seed's with its interval over rows, or the mean of several with that over seeds."""
    key = (one.metric, one.composition)
    same = [m for seed in found.seeds for m in seed.matrices if (m.metric, m.composition) == key]
    cells = [m.cells[stage][column] for m in same if column in m.cells.get(stage, {})]
    if len(found.seeds) > 1 and cells:
        return over_seeds([cell.value for cell in cells])
    return cells[0] if cells else None


def name_columns(columns: Iterable[Column]) -> dict[Column, str]:
    """How each task and split is called: the task alone where it has one split."""
    splits: dict[str, list[str]] = {}
    for task, split in dict.fromkeys(columns):
        splits.setdefault(task, []).append(split)
    return {(task, one): task if len(own) == 1 else f"{task} ({one})" for task, own in splits.items() for one in own}


def show_metric(one: Measured) -> str:
    """The metric's name, with an arrow where lower is better."""
    return one.metric if one.higher_is_better else f"{one.metric} ↓"


def show(value: float) -> str:
    """A number with three digits behind the point, from 10 up with one."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def show_interval(result: Result | Estimate | None) -> str:
    """``0.750 [0.690, 0.800]``; nothing of what was not measured."""
    if result is None:
        return ""
    interval = "" if isnan(result.low) else f" [{show(result.low)}, {show(result.high)}]"
    return show(result.value) + interval


def _place(result: Result) -> tuple[object, ...]:
    return result.task, result.split, result.metric, result.stage, result.seed


def _row(base: Result | None, adapted: Result | None, names: dict[Column, str]) -> TableRow:
    one = adapted or base
    assert one
    comparison = adapted.comparison if adapted else None
    return TableRow(
        task=names[one.task, one.split],
        metric=show_metric(one),
        adapter=one.adapter if adapted else BASE_LABEL,
        n=str(one.n),
        base=show_interval(base),
        adapted=show_interval(adapted),
        gain=f"{comparison.difference:+.3f}" if comparison else "",
        verdict=comparison.verdict if comparison else "",
        seconds="" if one.seconds is None else f"{one.seconds:.1f}",
    )


def _drift(task: str, adapter: str, results: list[Result]) -> DriftRow:
    own = {one.metric: one for one in results if (one.task, one.adapter) == (task, adapter)}
    plain = next((r for r in results if r.metric == GENERAL.name and r.task == task and not r.composition), None)
    general = own.get(GENERAL.name)
    return DriftRow(
        task,
        adapter,
        kl=show_interval(own.get(KL.name)),
        base=show_interval(plain),
        general=show_interval(general),
        verdict=general.comparison.verdict if general and general.comparison else "",
    )
