"""What is known of rows as tables of text, for the terminal and for the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold.tasks.checks import DataReport
from tenfold.tasks.splits import SplitReport, quantile

QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}
MOST_LABELS = 12  # of a split


@dataclass(frozen=True)
class Grid:
    """A table. left: the columns that are words; the others are numbers."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: tuple[int, ...] = (0, 1)


def split_grid(splits: Sequence[SplitReport]) -> Grid:
    """One line a split."""
    rows = [
        (
            one.task, one.split, f"{one.rows:,}", *_lengths(one.lengths), f"{sum(one.lengths):,}",
            f"{one.supervised:,}", f"{one.truncated:,}", f"{one.duplicates:,}", f"{one.contradictions:,}",
        )
        for one in splits
    ]  # fmt: skip
    headers = ("task", "split", "rows", *QUANTILES, "tokens", "supervised", "cut", "repeats", "contradicting")
    return Grid(headers, rows)


def label_grid(splits: Sequence[SplitReport]) -> Grid:
    """One line a label of a split, the most frequent first: rows, share, tokens."""
    rows = []
    for one in splits:
        for label, lengths in list(one.by_label.items())[:MOST_LABELS]:
            share = f"{len(lengths) / one.rows:.1%}"
            rows.append((one.task, one.split, label, f"{len(lengths):,}", share, *_lengths(lengths)))
        rest = len(one.by_label) - MOST_LABELS
        if rest > 0:
            others = [n for lengths in list(one.by_label.values())[MOST_LABELS:] for n in lengths]
            more = (f"{rest} more", f"{len(others):,}", f"{len(others) / one.rows:.1%}", *_lengths(others))
            rows.append((one.task, one.split, *more))
    return Grid(("task", "split", "label", "rows", "share", *QUANTILES), rows, (0, 1, 2))


def shared_grid(report: DataReport) -> Grid:
    """Inputs that stand in two splits, and those that nearly repeat another, with an example of each."""
    same = [
        (one.task, one.split, f"{one.in_task} {one.in_split}", f"{one.rows:,} of {one.of:,}", "1", one.example, "")
        for one in report.overlaps
    ]
    alike = [
        (
            one.task, one.split, "itself" if one.within else f"{one.in_task} {one.in_split}",
            f"{one.rows:,} of {one.of:,}", f"{one.share:.2f}", one.example, one.twin,
        )
        for one in report.similar
    ]  # fmt: skip
    rows = [(*row[:5], _short(row[5]), _short(row[6])) for row in (*same, *alike)]
    return Grid(("task", "split", "also in", "inputs", "alike", "for instance", "and"), rows, (0, 1, 2, 5, 6))


def _lengths(lengths: Sequence[int]) -> list[str]:
    return [f"{quantile(lengths, share):,}" for share in QUANTILES.values()]


def _short(text: str, most: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
