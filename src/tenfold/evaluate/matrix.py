"""The stage x task matrix of a run, and what follows from it. Pure: results and a plan in, numbers out.

R[i][j] is what task j scores after stage i (Lopez-Paz and Ranzato 2017, arXiv:1706.08840). There each stage trains one
task; here a plan says which stage trained which task first, and stages may train any number of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.evaluate.cases import BEFORE
from tenfold.evaluate.evaluation import BASE_LABEL
from tenfold.evaluate.results import Result

OWN = "own"
Column = tuple[str, str]
"""A task and a split of it."""
AVERAGE, BACKWARD, FORWARD, FORGETTING = "average", "backward transfer", "forward transfer", "forgetting"
NAMES = (AVERAGE, BACKWARD, FORWARD, FORGETTING)


@dataclass(frozen=True)
class Matrix:
    """One metric under one composition: ``base``, ``own`` (of each task its own adapters), or another label.

    cells: by stage, from -1 (before any training) where that was measured, and then by column.
    """

    metric: str
    composition: str
    higher_is_better: bool
    cells: dict[int, dict[Column, Result]]

    @property
    def columns(self) -> list[Column]:
        """Every task and split that was measured at any stage."""
        return list(dict.fromkeys(column for row in self.cells.values() for column in row))

    @property
    def last(self) -> int:
        """The number of the last stage."""
        return max(self.cells)


@dataclass(frozen=True)
class Term:
    """One column's part of a summary: a cell, or a cell less another of the same cases."""

    cell: Result
    less: Result | None = None

    @property
    def value(self) -> float:
        """A difference counts in the direction in which the metric is better."""
        if self.less is None:
            return self.cell.value
        return self.sign * (self.cell.value - self.less.value)

    @property
    def sign(self) -> int:
        """1 where the metric is better when higher, else -1."""
        return 1 if self.cell.higher_is_better else -1


def build(results: Iterable[Result]) -> list[Matrix]:
    """A matrix for each metric and composition of the results that belong to stages (of one seed).

    Until its adapter is there, a task is answered by the base: cells from before the first stage at which a
    composition was measured are the base's.
    """
    found: dict[tuple[str, str], dict[int, dict[Column, Result]]] = {}
    staged = [one for one in results if one.stage is not None]
    for one in staged:
        assert one.stage is not None
        kind = _kind(one)
        found.setdefault((one.metric, kind), {}).setdefault(one.stage, {})[one.task, one.split] = one
    matrices = [Matrix(metric, kind, _higher(staged, metric), cells) for (metric, kind), cells in found.items()]
    bases = {matrix.metric: matrix for matrix in matrices if matrix.composition == BASE_LABEL}
    return [_filled(matrix, bases.get(matrix.metric)) for matrix in matrices]


def first_trained(stages: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """By task: the number of the first stage of a plan that trains something on its rows."""
    found: dict[str, int] = {}
    for number, stage in enumerate(stages):
        for lane in stage["lanes"]:
            for feed in lane["feeds"] if lane["learners"] else ():
                found.setdefault(feed["task"], number)
    return found


def summaries(matrix: Matrix, first: Mapping[str, int]) -> dict[str, list[Term]]:
    """What the matrix comes to, each as the terms that it is the mean of; what has no terms is left out.

    With N the last stage and f(j) the first that trained task j, over the tasks that some stage trained:

    - average: R[N][j].
    - backward transfer: R[N][j] - R[f(j)][j], tasks with f(j) < N (Lopez-Paz and Ranzato 2017, arXiv:1706.08840).
    - forward transfer: R[f(j)-1][j] - R[-1][j], tasks with f(j) > 0 (the same; theirs is from a random start).
    - forgetting: max over i < N of R[i][j], less R[N][j], tasks with f(j) < N (Chaudhry et al. 2018,
      arXiv:1801.10112). The best stage is taken as given, so chance alone makes it a little larger than zero.

    Differences are turned around for metrics that are better when lower: positive transfer is always a gain,
    positive forgetting always a loss.
    """
    trained = [column for column in matrix.columns if column[0] in first]
    early = [column for column in trained if first[column[0]] < matrix.last]
    late = [column for column in trained if first[column[0]] > 0]
    end, zero = matrix.cells[matrix.last], matrix.cells.get(BEFORE, {})
    found = {
        AVERAGE: [Term(end[c]) for c in trained if c in end],
        BACKWARD: [_term(end.get(c), _cell(matrix, first[c[0]], c)) for c in early],
        FORWARD: [_term(_cell(matrix, first[c[0]] - 1, c), zero.get(c)) for c in late],
        FORGETTING: [_term(_best(matrix, c), end.get(c)) for c in early],
    }
    kept = {name: [term for term in terms if term] for name, terms in found.items()}
    return {name: terms for name, terms in kept.items() if terms}


def parameters(results: Iterable[Result], plan: Sequence[Mapping[str, Any]], stage: int) -> int | None:
    """How many the base and all adapters have that there are after a stage; None where it was not counted.

    Those that only a later stage of the plan trains are not there yet; those that none trains were there before.
    """
    learners = [{name for lane in one["lanes"] for name in lane["learners"]} for one in plan]
    done, later = set().union(*learners[: stage + 1]), set().union(*learners[stage + 1 :])
    counted: dict[str, int] = {}
    for one in results:
        if one.stage is not None and one.stage <= stage:
            counted |= one.parameters or {}
    there = {name: size for name, size in counted.items() if name == BASE_LABEL or name in done or name not in later}
    return sum(there.values()) if there else None


def _kind(one: Result) -> str:
    return OWN if one.adapter == one.task else one.adapter


def _higher(results: Sequence[Result], metric: str) -> bool:
    return next(one.higher_is_better for one in results if one.metric == metric)


def _filled(matrix: Matrix, base: Matrix | None) -> Matrix:
    if base is None or base is matrix:
        return matrix
    begins = {c: min(stage for stage, row in matrix.cells.items() if c in row) for c in matrix.columns}
    cells = {stage: dict(row) for stage, row in matrix.cells.items()}
    for stage, row in base.cells.items():
        for column, result in row.items():
            if stage < begins.get(column, BEFORE):
                cells.setdefault(stage, {})[column] = result
    ordered = {stage: {c: cells[stage][c] for c in matrix.columns if c in cells[stage]} for stage in sorted(cells)}
    return Matrix(matrix.metric, matrix.composition, matrix.higher_is_better, ordered)


def _cell(matrix: Matrix, stage: int, column: Column) -> Result | None:
    return matrix.cells.get(stage, {}).get(column)


def _best(matrix: Matrix, column: Column) -> Result | None:
    past = [row[column] for stage, row in matrix.cells.items() if BEFORE < stage < matrix.last and column in row]
    better = max if matrix.higher_is_better else min
    return better(past, key=lambda one: one.value, default=None)


def _term(cell: Result | None, less: Result | None) -> Term | None:
    return Term(cell, less) if cell and less else None
