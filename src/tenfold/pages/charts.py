"""Charts of plain elements: histograms, and bars cut by shares, a line each."""

from collections.abc import Iterable, Sequence

from tenfold.pages.markup import Markup, element, join

BINS = 40
GOLDEN_ANGLE = 137.5
"""Degrees between the hues of neighbours, so that any number of them stay apart."""


def histograms(series: Sequence[tuple[str, Sequence[int], str]], highest: int) -> Markup:
    """One histogram a line, all from 0 to highest: (name, values, what is said beside it)."""
    return _chart((name, _histogram(values, highest, f"{name}, {note}"), note) for name, values, note in series)


def shares(names: Sequence[str], series: Sequence[tuple[str, Sequence[float], str]]) -> Markup:
    """One bar a line, cut by shares of 1 in the order of the names: (line, shares, what is said beside it)."""
    if not series:
        return Markup("")
    hues = [f"--hue: {(200 + GOLDEN_ANGLE * number) % 360:.0f}" for number in range(len(names))]
    key = (element("span", element("i", style=hue), name) for hue, name in zip(hues, names, strict=True))
    lines = ((line, _bar(names, hues, parts), note) for line, parts, note in series)
    return join([_chart(lines), element("div", join(key), class_="key")])


def count(values: Iterable[int], highest: int, bins: int = BINS) -> list[int]:
    """How many of the values, from 0 to highest, are in each of so many bins of one width."""
    counts = [0] * bins
    for value in values:
        counts[min(value * bins // (highest + 1), bins - 1)] += 1
    return counts


def _chart(lines: Iterable[tuple[str, Markup, str]]) -> Markup:
    parts = [join([element("span", name), drawn, element("span", note)]) for name, drawn, note in lines]
    return element("div", join(parts), class_="chart") if parts else Markup("")


def _histogram(values: Sequence[int], highest: int, label: str) -> Markup:
    counts, width = count(values, highest), (highest + 1) / BINS
    top = max(counts)
    bars = (
        element(
            "rect", element("title", f"{place * width:.0f} to {(place + 1) * width:.0f}: {n}"),
            x=f"{place + 0.05:.2f}", y=f"{100 - 100 * n / top:.2f}", width="0.9", height=f"{100 * n / top:.2f}",
        )
        for place, n in enumerate(counts)
        if n
    )  # fmt: skip
    box = {"viewBox": f"0 0 {BINS} 100", "preserveAspectRatio": "none"}
    return element("svg", join(bars), **box, role="img", aria_label=label)


def _bar(names: Sequence[str], hues: Sequence[str], parts: Sequence[float]) -> Markup:
    told = [f"{name}: {part:.1%}" for name, part in zip(names, parts, strict=True)]
    cut = (
        element("i", style=f"{hue}; width: {100 * part:.2f}%", title=text)
        for hue, part, text in zip(hues, parts, told, strict=True)
    )
    return element("div", join(cut), class_="bar", role="img", aria_label=", ".join(told))
