"""What every task scores after every stage, and what that comes to: average, transfer, forgetting."""

from typing import Any

from tenfold import evaluate
from tenfold.evaluate.matrix import NAMES, Matrix
from tenfold.evaluate.transfer import Stage, Transfer
from tenfold.pages.markup import join, table
from tenfold.pages.page import Section, note, plots
from tenfold.pages.style import WIDTH, Drawing, draw
from tenfold.report.panels import heat
from tenfold.report.results import cell
from tenfold.report.source import Source
from tenfold.statistics import over_seeds

TOLD = (
    "Rows are stages, columns tasks; a framed cell is a task that the stage trained. Transfer is a gain where it is "
    "positive, forgetting a loss; 95% intervals over cases, of several seeds over seeds."
)


def section(source: Source) -> Section | None:
    """The matrices and their summaries, for a run of which the stages were measured."""
    found = evaluate.keep_transfer(source.folder)
    if found is None:
        return None
    shown = found.shown
    drawings = [_draw(number, one, found) for number, one in enumerate(shown)]
    rows = [row for one in shown for row in _summaries(one, found)]
    summary = table(("metric", "composition", "seed", *NAMES), rows, left=(0, 1), name="transfer") if rows else ""
    return Section("Stages", join([note(TOLD), plots(drawings), summary]), drawings)


def _draw(number: int, one: Matrix, found: Transfer) -> Drawing:
    stages = [stage for stage in found.stages if stage.number in one.cells]
    values = [[_value(stage.number, column, one, found) for column in one.columns] for stage in stages]
    there = [value for row in values for value in row if value is not None]
    low, spread = min(there), (max(there) - min(there)) or 1.0
    shades = [[None if v is None else _shade(v, low, spread, one.higher_is_better) for v in row] for row in values]
    marked = [
        (row, place)
        for row, stage in enumerate(stages)
        for place, (task, _) in enumerate(one.columns)
        if task in found.trained.get(stage.number, ())
    ]
    tasks = [task for task, _ in one.columns]
    columns = [task if tasks.count(task) == 1 else f"{task} ({split})" for task, split in one.columns]
    arrow = "" if one.higher_is_better else " ↓"
    title = f"{one.metric}{arrow}, {one.composition}"

    def paint(axes: Any) -> None:
        heat(axes, values, list(map(_name, stages)), columns, shades=shades, marked=marked)
        axes.set_title(title)

    height = 1.0 + 0.42 * len(stages)
    return draw(f"matrix-{number}", f"{title}: stages by tasks", paint, max(WIDTH, 1.9 + 0.75 * len(columns)), height)


def _name(stage: Stage) -> str:
    text = stage.name if stage.number < 0 else f"{stage.number} {stage.name}"
    return text if len(text) <= 28 else f"{text[:27]}…"


def _shade(value: float, low: float, spread: float, higher_is_better: bool) -> float:
    share = (value - low) / spread
    return share if higher_is_better else 1 - share


def _value(stage: int, column: tuple[str, str], one: Matrix, found: Transfer) -> float | None:
    """Of one seed, or the mean of several."""
    same = [
        m for seed in found.seeds for m in seed.matrices if (m.metric, m.composition) == (one.metric, one.composition)
    ]
    values = [m.cells[stage][column].value for m in same if column in m.cells.get(stage, {})]
    return over_seeds(values).value if len(values) > 1 else next(iter(values), None)


def _summaries(one: Matrix, found: Transfer) -> list[list[object]]:
    key = (one.metric, one.composition)
    name = one.metric if one.higher_is_better else f"{one.metric} ↓"
    rows: list[list[object]] = [
        [name, one.composition, str(seed.seed), *(cell(seed.summaries.get(key, {}).get(each)) for each in NAMES)]
        for seed in found.seeds
    ]
    if key in found.over_seeds:
        mean = f"mean of {len(found.seeds)}"
        rows.append([name, one.composition, mean, *(cell(found.over_seeds[key].get(each)) for each in NAMES)])
    return rows
