"""From results to the rows of the tables that are printed."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan

from tenfold.evaluate.evaluation import BASE_LABEL
from tenfold.evaluate.metrics import DRIFT, GENERAL, KL
from tenfold.evaluate.results import Result
from tenfold.statistics import Estimate


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
    alone = [(base, None) for place, base in bases.items() if place not in accompanied]
    rows = [*((bases.get(_place(result)), result) for result in adapted), *alone]
    splits = {result.task: {r.split for r in results if r.task == result.task} for result in results}
    return [_row(base, result, splits) for base, result in rows]


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


def show(value: float) -> str:
    """A number with three digits behind the point, from 10 up with one."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def show_interval(result: Result | Estimate) -> str:
    """``0.750 [0.690, 0.800]``."""
    interval = "" if isnan(result.low) else f" [{show(result.low)}, {show(result.high)}]"
    return show(result.value) + interval


def _place(result: Result) -> tuple[object, ...]:
    return result.task, result.split, result.metric, result.stage, result.seed


def _row(base: Result | None, adapted: Result | None, splits: dict[str, set[str]]) -> TableRow:
    one = adapted or base
    assert one
    comparison = adapted.comparison if adapted else None
    return TableRow(
        task=one.task if len(splits[one.task]) == 1 else f"{one.task} ({one.split})",
        metric=one.metric + ("" if one.higher_is_better else " ↓"),
        adapter=one.adapter if adapted else BASE_LABEL,
        n=str(one.n),
        base=show_interval(base) if base else "",
        adapted=show_interval(adapted) if adapted else "",
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
        kl=show_interval(own[KL.name]) if KL.name in own else "",
        base=show_interval(plain) if plain else "",
        general=show_interval(general) if general else "",
        verdict=general.comparison.verdict if general and general.comparison else "",
    )
