"""The plot that ``tenfold inspect`` leaves: singular values by layer, amplification by depth, overlaps."""

import pathlib
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tenfold.adapters.analysis import Analysis, Change, layer_type, mean

MOST_VALUES = 64
"""Singular values of a layer that are drawn."""
ROW, COLUMN = 4.2, 4.8  # inches


def save_analysis(found: Analysis, path: pathlib.Path) -> None:
    """Write a PNG: a heat map of singular values for each adapter, amplification, and overlaps between several."""
    names = found.shown
    pairs = [side for side in ("written", "read") if found.overlaps]
    width = max(1 + len(pairs), min(len(names), 3))
    height = -(-len(names) // width) + 1
    figure = Figure(figsize=(COLUMN * width, ROW * height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(height, width, squeeze=False).flat)
    colours = _scale(found)
    for name, axes in zip(names, panels, strict=False):
        _draw_values(axes, [one for one in found.changes if one.adapter == name], colours)
    _draw_amplification(panels[-width], names, found)
    for side, axes in zip(pairs, panels[1 - width :], strict=False):
        _draw_overlaps(axes, names, found, side)
    for axes in panels:
        axes.set_visible(axes.has_data())
    figure.savefig(path, dpi=120)


def depth(layer: str) -> int | None:
    """The first number in a dotted name."""
    return next((int(part) for part in layer.split(".") if part.isdigit()), None)


def _scale(found: Analysis) -> LogNorm:
    """One scale of colours for all adapters; what is a rounding error beside the largest value is not drawn."""
    values = [value for one in found.changes for value in one.values[:MOST_VALUES] if value > 0]
    high = max(values, default=1.0)
    low = min((value for value in values if value > high * 1e-5), default=high / 10)
    return LogNorm(min(low, high / 10), high)


def _draw_values(axes: Any, changes: list[Change], colours: LogNorm) -> None:
    """Rows are layers, by type and then by depth."""
    types = list(dict.fromkeys(layer_type(one.layer) for one in changes))
    rows = sorted(changes, key=lambda one: types.index(layer_type(one.layer)))  # stable: depth stays in order
    width = max(min(len(one.values), MOST_VALUES) for one in rows)
    grid = np.full((len(rows), width), np.nan)
    for place, one in enumerate(rows):
        shown = one.values[:width]
        grid[place, : len(shown)] = shown
    drawn = axes.imshow(
        np.where(grid > 0, grid, np.nan), norm=colours, aspect="auto", interpolation="nearest",
        extent=(0.5, width + 0.5, len(rows) - 0.5, -0.5),
    )  # fmt: skip
    axes.figure.colorbar(drawn, ax=axes)
    places = [[i for i, one in enumerate(rows) if layer_type(one.layer) == each] for each in types]
    for group in places[1:]:
        axes.axhline(group[0] - 0.5, color="white", linewidth=1)
    axes.set_yticks([(group[0] + group[-1]) / 2 for group in places], types)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=f"{changes[0].adapter}: singular values of dW", xlabel="number")


def _draw_amplification(axes: Any, names: list[str], found: Analysis) -> None:
    """A point for each layer, a line for the mean at each depth."""
    for number, name in enumerate(names):
        own = [(one, at) for one in found.changes if one.adapter == name and (at := depth(one.layer)) is not None]
        points = [(at, one.amplification) for one, at in own if one.amplification is not None]
        depths = sorted({at for at, _ in points})
        means = [mean(value for at, value in points if at == each) for each in depths]
        if points:
            axes.scatter(*zip(*points, strict=True), s=6, alpha=0.4, color=f"C{number % 10}")
            axes.plot(depths, means, color=f"C{number % 10}", label=name)
    axes.set(title="amplification, each layer and mean", xlabel="depth", ylabel="|dW| / |U'WV|", yscale="log")
    if axes.has_data():
        axes.legend()


def _draw_overlaps(axes: Any, names: list[str], found: Analysis, side: str) -> None:
    """Adapters by adapters, the mean over all layers."""
    grid = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(grid, 1)
    for a, b in {(one.one, one.other) for one in found.overlaps}:
        value = mean(getattr(one, side) for one in found.overlaps if (one.one, one.other) == (a, b))
        grid[names.index(a), names.index(b)] = grid[names.index(b), names.index(a)] = value
    axes.imshow(grid, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(grid):
        colour = "black" if value > 0.6 else "white"
        axes.text(column, row, "" if np.isnan(value) else f"{value:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    chance = mean(getattr(one, f"{side}_by_chance") for one in found.overlaps)
    axes.set_title(f"overlap of what is {side} (chance {chance:.2f})")
