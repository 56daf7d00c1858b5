"""What the router chose: confusion, reliability, what its threshold costs."""

from typing import Any

from tenfold.evaluate import Result
from tenfold.evaluate.results import ROUTER
from tenfold.evaluate.tables import show_metric
from tenfold.pages.markup import Markup, folded, join, table
from tenfold.pages.page import Section, note, plots
from tenfold.pages.style import WIDTH, Drawing, draw
from tenfold.report.panels import coverage, heat, reliability
from tenfold.report.results import cell
from tenfold.report.source import Source
from tenfold.route.choices import FILE
from tenfold.statistics import wilson

MOST_TASKS = 16


def section(source: Source) -> Section | None:
    """The first seed's router: its counts where they were kept, and every number about it."""
    results = [one for one in source.results if one.task == ROUTER and one.seed == source.seeds[0]]
    kept = source.json(FILE, source.runs[0].router)
    if not results and kept is None:
        return None
    drawings = _drawings(kept) if kept else []
    rows = [[show_metric(one), one.split, cell(one), f"{one.n:,}"] for one in results]
    numbers = table(("number", "of", "value", "n"), rows, left=(0, 1), name="router") if rows else Markup("")
    numbers = folded("All numbers", numbers) if drawings and rows else numbers
    return Section("Router", join([note(_told(kept, results)), plots(drawings), numbers]), drawings)


def _told(kept: dict[str, Any] | None, results: list[Result]) -> str:
    kind = results[0].adapter if results else ""
    said = f"Kind: {kind}. " if kind else ""
    if not kept:
        return said
    now = kept["now"]
    answered, right = (f"{100 * now[key]:.1f}%" for key in ("coverage", "accuracy"))
    return (
        f"{said}On evaluation rows as users would type them. A row of the confusion is the task that was asked, a "
        f"column what was chosen. With its threshold on {kept['score']} it answers {answered} of the texts and is "
        f"right for {right} of those. A dot's area is the share of texts in one of {len(kept['bins'])} bins."
    )


def _drawings(kept: dict[str, Any]) -> list[Drawing]:
    bins = [one for one in kept["bins"] if one["n"]]
    points = [
        (one["confidence"], one["right"] / one["n"], one["n"], *wilson(one["right"] / one["n"], one["n"]))
        for one in bins
    ]
    curve = [(one["coverage"], one["accuracy"]) for one in kept["curve"]]
    now = kept["now"]["coverage"], kept["now"]["accuracy"]
    found = [draw("reliability", "share of right choices by confidence", lambda axes: reliability(axes, points))]
    if curve:
        found.append(draw("coverage", "accuracy by share answered", lambda axes: coverage(axes, curve, now)))
    return [*([_confusion(kept)] if len(kept["tasks"]) <= MOST_TASKS else []), *found]


def _confusion(kept: dict[str, Any]) -> Drawing:
    rows, columns = list(kept["confusion"]), [*kept["tasks"], "base"]
    cells = [kept["confusion"][row] for row in rows]
    shades = [[count / max(sum(own), 1) for count in own] for own in cells]
    shown = [[count or None for count in own] for own in cells]

    def paint(axes: Any) -> None:
        heat(axes, shown, rows, columns, shades=shades, digits=0)
        axes.set_title("confusion")

    height = 0.95 + 0.42 * len(rows)
    return draw(
        "confusion", "tasks asked by tasks chosen", paint, max(WIDTH, 1.4 + 0.6 * len(columns)), max(height, 2.3)
    )
