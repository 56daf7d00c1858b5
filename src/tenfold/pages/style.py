"""One look for every plot: drawn once by matplotlib, in the page's own colours where it stands in the page."""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tenfold.pages.markup import Markup, element, escape

INK, MUTED, GRID, PAPER = "#1f1c18", "#6a645a", "#e0dbd0", "#fffdf9"
SERIES = ("#0f766e", "#c2571a", "#4a5fb5", "#a3477f", "#8a7312", "#2f7fb0", "#5e7d2a", "#77706a")
"""Colours that stay apart for most colour-blind readers; page.css has those of a dark page under the same names."""
NAMES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"} | {c: f"s{i}" for i, c in enumerate(SERIES)}
DPI = 160
WIDTH, HEIGHT = 4.6, 2.9  # inches
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "tenfold", "text.parse_math": False, "font.size": 9,
    "font.family": "sans-serif", "text.color": INK,
    "figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER,
    "axes.edgecolor": GRID, "axes.labelcolor": MUTED, "axes.titlecolor": INK, "axes.titlelocation": "left",
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.labelsize": 9, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.7,
    "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "legend.frameon": False, "legend.fontsize": 8.5,
    "lines.linewidth": 1.6, "lines.solid_capstyle": "round",
}  # fmt: skip
HEAD = re.compile(r"^.*?<svg [^>]*viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
LEFT_OUT = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
FONT = re.compile(r"font-family: [^;\"]*")
REFERENCE = re.compile(r"( id=\"|href=\"#|url\(#)")


@dataclass(frozen=True)
class Drawing:
    """A plot by its name, with a sentence for those who can't see it, as an SVG file and as a PNG file."""

    name: str
    alt: str
    svg: str
    png: bytes

    def inline(self) -> Markup:
        """The SVG inside a page, in the page's colours and type, under identifiers of its own."""
        body = LEFT_OUT.sub("", HEAD.sub("", self.svg, count=1))
        body = REFERENCE.sub(rf"\g<1>{self.name}-", FONT.sub("font-family: inherit", body))
        for colour, name in NAMES.items():
            body = body.replace(colour, f"var(--{name})")
        found = HEAD.match(self.svg)
        assert found, "no SVG"
        opened = f'<svg class="plot" viewBox="{found[1]}" role="img" aria-label="{escape(self.alt)}"'
        return element("figure", Markup(f'{opened} xmlns:xlink="http://www.w3.org/1999/xlink">{body}'))


def draw(name: str, alt: str, paint: Callable[[Any], None], width: float = WIDTH, height: float = HEIGHT) -> Drawing:
    """Paint one panel. name: of its files, letters, digits and dashes. paint: is given matplotlib's axes."""
    assert re.fullmatch(r"[\w-]+", name, re.ASCII), name
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure.subplots())
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(png, format="png", dpi=DPI)
    return Drawing(name, alt, svg.getvalue(), png.getvalue())


def colour(number: int) -> str:
    """The colour of a series; after the last they begin again."""
    return SERIES[number % len(SERIES)]
