"""From judged cases to results and files."""

import pathlib
from collections.abc import Sequence

from tenfold.evaluate.cases import case_file, case_folder, read_cases, write_cases
from tenfold.evaluate.evaluation import CaseSet
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
        comparison=_comparison(one, measure, base) if base and base is not one and _has(base, measure) else None,
    )


def _has(one: CaseSet, measure: Measure) -> bool:
    return measure.name in {other.name for other in one.measures}


def _comparison(one: CaseSet, measure: Measure, base: CaseSet) -> Comparison:
    return compare(
        measure.rows(one.cases),
        measure.rows(base.cases),
        measure.statistic,
        higher_is_better=measure.higher_is_better,
        bounds=measure.bounds,
    )
