"""The plot of row lengths that ``tenfold data`` leaves beside what it prints."""

import pathlib
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tenfold.tasks.checks import DataReport

BINS = 40


def save_lengths(report: DataReport, path: pathlib.Path) -> None:
    """Write a PNG: one panel a task, the share of rows by their tokens, one outline a split."""
    tasks = list(dict.fromkeys(one.task for one in report.splits))
    figure = Figure(figsize=(8, 2.4 * len(tasks) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(tasks), 1, squeeze=False)[:, 0]
    for task, axes in zip(tasks, panels, strict=True):
        _draw(axes, task, report)
    figure.savefig(path, dpi=120)


def _draw(axes: Any, task: str, report: DataReport) -> None:
    splits = [one for one in report.splits if one.task == task]
    longest = max(max(one.lengths) for one in splits)
    for one in splits:
        shares = [100 / one.rows] * one.rows
        label = f"{one.split} ({one.rows} rows)"
        axes.hist(one.lengths, BINS, (0, longest + 1), weights=shares, histtype="step", linewidth=1.5, label=label)
    limit = splits[0].sequence_len
    if limit is not None and any(one.truncated for one in splits):
        axes.axvline(limit, color="black", linestyle=":", label="sequence_len")
    axes.set(title=task, xlabel="tokens", ylabel="% of rows")
    axes.legend()
