"""What every task scores after every stage, and what that comes to: average, transfer, forgetting."""

from typing import Any

from tenfold import evaluate
from tenfold.evaluate.matrix import Matrix
from tenfold.evaluate.tables import SUMMARY_HEADERS, find_cell, name_columns, show_metric, summary_rows
from tenfold.evaluate.transfer import Stage, Transfer
from tenfold.pages.markup import join, table
from tenfold.pages.page import Section, note, plots
from tenfold.pages.style import WIDTH, Drawing, draw
from tenfold.report.panels import heat
from tenfold.report.results import cell
from tenfold.report.source import Source

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
    rows = [[*named, *map(cell, own)] for *named, own in summary_rows(found)]
    summary = table(SUMMARY_HEADERS, rows, left=(0, 1), name="transfer") if rows else ""
    return Section("Stages", join([note(TOLD), plots(drawings), summary]), drawings)


def _draw(number: int, one: Matrix, found: Transfer) -> Drawing:
    stages = [stage for stage in found.stages if stage.number in one.cells]
    cells = [[find_cell(found, one, stage.number, column) for column in one.columns] for stage in stages]
    values = [[own.value if own else None for own in row] for row in cells]
    there = [value for row in values for value in row if value is not None]
    low, spread = min(there), (max(there) - min(there)) or 1.0
    shades = [[None if v is None else _shade(v, low, spread, one.higher_is_better) for v in row] for row in values]
    marked = [
        (row, place)
        for row, stage in enumerate(stages)
        for place, (task, _) in enumerate(one.columns)
        if task in found.trained.get(stage.number, ())
    ]
    names = name_columns(one.columns)
    columns = [names[column] for column in one.columns]
    title = f"{show_metric(one)}, {one.composition}"

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
