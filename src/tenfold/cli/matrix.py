"""The stage x task matrix of a run, as tables."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from tenfold import evaluate
from tenfold.cli.tables import make_table
from tenfold.evaluate.matrix import NAMES, Column, Matrix
from tenfold.evaluate.tables import show_interval
from tenfold.evaluate.transfer import Seed, Stage, Transfer
from tenfold.statistics import Estimate, over_seeds


def show_matrix(run: Path, console: Console) -> None:
    """Print what every task scores after every stage, and what that comes to; kept in the run's ``matrix.json``.

    Nothing for a run of which no stage was measured. Raises RunError for torn files.
    """
    found = evaluate.keep_transfer(run)
    if found is None:
        return
    for one in found.shown:
        console.print("", _headline(one, found.seeds), sep="\n", style="bold", highlight=False)
        headers = ("stage", "name", "trains", *_titles(one.columns), "parameters")
        rows = [_row(stage, one, found.seeds) for stage in found.stages if stage.number in one.cells]
        console.print(make_table(headers, rows, left=(1, 2)))
    if rows := list(_summaries(found)):
        console.print("", make_table(("metric", "composition", "seed", *NAMES), rows, left=(0, 1)), sep="\n")


def _headline(one: Matrix, seeds: Sequence[Seed]) -> str:
    several = f", mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{_metric(one.metric, one)} with {one.composition}{several}"


def _metric(name: str, one: Matrix) -> str:
    return name if one.higher_is_better else f"{name} ↓"


def _titles(columns: Sequence[Column]) -> list[str]:
    tasks = [task for task, _ in columns]
    return [task if tasks.count(task) == 1 else f"{task} ({split})" for task, split in columns]


def _row(stage: Stage, one: Matrix, seeds: Sequence[Seed]) -> list[str]:
    number = "" if stage.number < 0 else str(stage.number)
    cells = [_cell(stage.number, column, one, seeds) for column in one.columns]
    size = "" if stage.parameters is None else f"{stage.parameters:,}"
    return [number, stage.name, ", ".join(stage.trains), *cells, size]


def _cell(stage: int, column: Column, one: Matrix, seeds: Sequence[Seed]) -> str:
    """One seed's value with its interval over rows, or the mean of several with that over seeds."""
    same = [m for seed in seeds for m in seed.matrices if (m.metric, m.composition) == (one.metric, one.composition)]
    found = [m.cells[stage][column] for m in same if column in m.cells.get(stage, {})]
    if not found:
        return ""
    if len(seeds) > 1:
        return show_interval(over_seeds([cell.value for cell in found]))
    return show_interval(found[0])


def _summaries(found: Transfer) -> Iterator[list[str]]:
    """A line for each seed, with intervals over rows, and one for their mean, with intervals over seeds."""
    for one in found.shown:
        key, name = (one.metric, one.composition), _metric(one.metric, one)
        for seed in found.seeds:
            yield [name, one.composition, str(seed.seed), *_named(seed.summaries.get(key, {}))]
        if key in found.over_seeds:
            yield [name, one.composition, f"mean of {len(found.seeds)}", *_named(found.over_seeds[key])]


def _named(summaries: Mapping[str, Estimate]) -> list[str]:
    return [show_interval(summaries[name]) if name in summaries else "" for name in NAMES]
