"""From judged cases to results and files, and from results to the rows of a table."""

import pathlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

from tenfold.evaluate.cases import case_file, case_folder, read_cases, write_cases
from tenfold.evaluate.evaluation import BASE_LABEL, CaseSet
from tenfold.evaluate.metrics import Measure
from tenfold.evaluate.results import Result, merge_results, read_results, write_results
from tenfold.statistics import Comparison, compare, estimate


def summarise(sets: Sequence[CaseSet], *, stage: int | None = None, seed: int = 0) -> list[Result]:
    """A result for each metric of each set, compared with the base on the same cases where that is among
    the sets. Intervals are seeded by themselves: the run's seed doesn't move them."""
    bases = {(one.task, one.split): one for one in sets if not one.composition}
    return [
        _result(one, measure, bases.get((one.task, one.split)), stage, seed) for one in sets for measure in one.measures
    ]


def save(folder: pathlib.Path, sets: Sequence[CaseSet], *, stage: int | None = None, seed: int = 0) -> list[Result]:
    """Keep every case in a run folder and the results in its ``results.json``; what was there for other splits,
    adapters and metrics stays. Returns the new results.

    stage: None for the run's end (``cases/``), the number of the stage after which was measured (``stages/N/cases/``),
    or ``BEFORE`` any training (``stages/before/cases/``).
    """
    results = summarise(sets, stage=stage, seed=seed)
    for task, adapter in dict.fromkeys((one.task, one.adapter) for one in sets):
        own = [one for one in sets if (one.task, one.adapter) == (task, adapter)]
        path = case_file(case_folder(folder, stage), task, adapter)
        splits = {one.split for one in own}
        kept = [case for case in read_cases(path) if case.split not in splits] if path.exists() else []
        write_cases(path, [*kept, *(case for one in own for case in one.cases)])
    write_results(folder / "results.json", merge_results(read_results(folder / "results.json"), results))
    return results


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
    adapter. A metric that is better when lower carries a down arrow."""
    results = list(results)
    bases = {_place(result): result for result in results if not result.composition}
    adapted = [result for result in results if result.composition]
    accompanied = {_place(result) for result in adapted}
    alone = [(base, None) for place, base in bases.items() if place not in accompanied]
    rows = [*((bases.get(_place(result)), result) for result in adapted), *alone]
    splits = {result.task: {r.split for r in results if r.task == result.task} for result in results}
    return [_row(base, result, splits) for base, result in rows]


def show(value: float) -> str:
    """A number with three digits behind the point, from 10 up with one."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def show_interval(result: Result) -> str:
    """``0.750 [0.690, 0.800]``."""
    interval = "" if isnan(result.low) else f" [{show(result.low)}, {show(result.high)}]"
    return show(result.value) + interval


def _result(one: CaseSet, measure: Measure, base: CaseSet | None, stage: int | None, seed: int) -> Result:
    found = estimate(measure.rows(one.cases), measure.statistic, bounds=measure.bounds)
    return Result(
        task=one.task,
        split=one.split,
        adapter=one.adapter,
        composition=one.composition,
        stage=stage,
        seed=seed,
        metric=measure.name,
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        higher_is_better=measure.higher_is_better,
        seconds=round(one.seconds, 3),
        parameters=one.parameters,
        comparison=_comparison(one, measure, base) if base and base is not one else None,
    )


def _comparison(one: CaseSet, measure: Measure, base: CaseSet) -> Comparison:
    return compare(
        measure.rows(one.cases),
        measure.rows(base.cases),
        measure.statistic,
        higher_is_better=measure.higher_is_better,
        bounds=measure.bounds,
    )


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
