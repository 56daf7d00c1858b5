"""The page of what rows hold: ``tenfold data --html``."""

from collections.abc import Iterator, Sequence

from tenfold.tasks import page
from tenfold.tasks.checks import DataReport
from tenfold.tasks.splits import SplitReport
from tenfold.tasks.tables import Grid, label_grid, shared_grid, split_grid

MOST_LABELS = 12


def write(report: DataReport, title: str, costs: Sequence[Grid] = (), notes: Sequence[str] = ()) -> str:
    """The whole page as HTML. costs: what training on the rows takes; notes: said under that."""
    parts = [
        page.section("What looks wrong", page.lines(report.warnings, "warn") or "<p>Nothing that is looked for.</p>"),
        page.section("Splits", _table(split_grid(report.splits))),
        page.section("What training takes", *map(_table, costs), *(f"<p>{page.escape(note)}</p>" for note in notes)),
        *(page.section(task, *_task(splits)) for task, splits in _by_task(report.splits)),
        page.section("Inputs that stand twice", _table(shared_grid(report))),
        page.section(
            "Rows as the model reads them",
            '<p class="soft">What counts in the loss is in bold.</p>' if report.samples else "",
            *(f"<h3>{page.escape(f'{one.task} {one.split}')}</h3>{page.marked(one.runs)}" for one in report.samples),
        ),
    ]
    return page.document(title, filter(None, parts))


def _by_task(splits: Sequence[SplitReport]) -> Iterator[tuple[str, list[SplitReport]]]:
    for task in dict.fromkeys(one.task for one in splits):
        yield task, [one for one in splits if one.task == task]


def _task(splits: Sequence[SplitReport]) -> list[str]:
    """Lengths by split, lengths by label, and how the labels are spread."""
    longest = max(max(one.lengths) for one in splits)
    names = list(dict.fromkeys(label for one in splits for label in one.labels))[:MOST_LABELS]
    by_label = [
        (f"{one.split} {label}", one.by_label[label], f"{len(one.by_label[label]):,} rows")
        for one in splits
        for label in names
        if label in one.by_label
    ]
    balance = [
        (one.split, [one.labels.get(name, 0) / one.rows for name in names], f"{one.rows:,} rows")
        for one in splits
        if one.labels
    ]
    return [
        f"<h3>Tokens of a row, 0 to {longest:,}</h3>",
        page.histograms([(one.split, one.lengths, f"median {one.length(0.5):,}") for one in splits], longest),
        "<h3>By label</h3>" if by_label else "",
        page.histograms(by_label, longest),
        "<h3>Balance of the labels</h3>" if balance else "",
        page.shares(names, balance) if names else "",
        _table(label_grid(splits)),
    ]


def _table(grid: Grid) -> str:
    return page.table(grid.headers, grid.rows, grid.left)
