"""The page of what rows hold: ``tenfold data --html``."""

from collections.abc import Iterator, Sequence

from tenfold.pages import charts
from tenfold.pages.markup import Markup, element, join, table
from tenfold.pages.page import Page, Section, note
from tenfold.tasks.checks import DataReport, Sample
from tenfold.tasks.splits import SplitReport
from tenfold.tasks.tables import Grid, label_grid, shared_grid, split_grid

MOST_LABELS = 12


def write(report: DataReport, title: str, costs: Sequence[Grid] = (), notes: Sequence[str] = ()) -> str:
    """The whole page as HTML. costs: what training on the rows takes; notes: said under that."""
    sections = (
        Section("What looks wrong", _warnings(report)),
        Section("Splits", _table(split_grid(report.splits), "splits")),
        Section("What training takes", join([*(_table(cost, "training") for cost in costs), *map(note, notes)])),
        *(Section(f"Rows of {task}", _task(task, splits)) for task, splits in _by_task(report.splits)),
        Section("Inputs that stand twice", _table(shared_grid(report), "inputs that stand twice")),
        Section("Rows as the model reads them", _samples(report.samples)),
    )
    kind = f"{sum(one.rows for one in report.splits):,} rows in {len(report.splits)} splits"
    return Page(title, kind, (), [one for one in sections if one.content], "the rows themselves").html()


def _warnings(report: DataReport) -> Markup:
    told = join(element("li", text) for text in report.warnings)
    return element("ul", told, class_="learnt warn") if told else note("Nothing that is looked for.")


def _by_task(splits: Sequence[SplitReport]) -> Iterator[tuple[str, list[SplitReport]]]:
    for task in dict.fromkeys(one.task for one in splits):
        yield task, [one for one in splits if one.task == task]


def _task(task: str, splits: Sequence[SplitReport]) -> Markup:
    """Lengths by split, lengths by label, and how the labels are spread."""
    longest = max(max(one.lengths) for one in splits)
    names = list(dict.fromkeys(label for one in splits for label in one.labels))[:MOST_LABELS]
    lengths = [(one.split, one.lengths, f"median {one.length(0.5):,}") for one in splits]
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
    return join(
        [
            _headed(f"Tokens of a row, 0 to {longest:,}", charts.histograms(lengths, longest)),
            _headed("By label", charts.histograms(by_label, longest)),
            _headed("Balance of the labels", charts.shares(names, balance)),
            _table(label_grid(splits), f"labels of {task}"),
        ]
    )


def _samples(samples: Sequence[Sample]) -> Markup:
    """Rows with what counts in the loss in bold."""
    shown = join(_headed(f"{one.task} {one.split}", _sample(one)) for one in samples)
    return join([note("What counts in the loss is in bold."), shown]) if shown else Markup("")


def _sample(sample: Sample) -> Markup:
    return element("pre", join(element("b", run) if mark else run for run, mark in sample.runs), class_="sample")


def _headed(heading: str, content: Markup) -> Markup:
    """Content under a heading; nothing where there is none."""
    return join([element("h3", heading), content]) if content else Markup("")


def _table(grid: Grid, name: str) -> Markup:
    """Nothing for no rows. Words may be long but for the first two, which are names."""
    return table(grid.headers, grid.rows, left=grid.left, long=grid.left[2:], name=name) if grid.rows else Markup("")
