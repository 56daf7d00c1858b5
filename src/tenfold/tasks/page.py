"""One HTML page that needs nothing else: no script, no file, no request; light and dark, wide and narrow."""

import html
import pathlib
from collections.abc import Iterable, Sequence

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
BINS = 40
STYLE = pathlib.Path(__file__).with_suffix(".css").read_text("utf-8")


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page of parts that are HTML already; the title is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Text as HTML shows it, in attributes too."""
    return html.escape(str(text), quote=True)


def section(heading: str, *parts: str) -> str:
    """A part of the page under a heading; nothing where there is nothing in it."""
    inner = "\n".join(filter(None, parts))
    return f"<section><h2>{escape(heading)}</h2>\n{inner}\n</section>" if inner else ""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Rows of text; the columns in ``left`` are words, the others numbers. Nothing for no rows."""
    if not rows:
        return ""
    kinds = [' class="left"' if place in left else "" for place in range(len(headers))]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for kind, text in zip(kinds, headers, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, row, strict=True)) + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def lines(texts: Sequence[str], kind: str = "") -> str:
    """A list of sentences."""
    return f'<ul class="{kind}">' + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""


def histograms(series: Sequence[tuple[str, Sequence[int], str]], highest: int) -> str:
    """One histogram a line, all from 0 to highest: (name, values, what is said beside it)."""
    parts = [
        f"<span>{escape(name)}</span>{_bars(values, highest)}<span>{escape(note)}</span>"
        for name, values, note in series
    ]
    return f'<div class="chart">{"".join(parts)}</div>' if parts else ""


def shares(names: Sequence[str], series: Sequence[tuple[str, Sequence[float], str]]) -> str:
    """One bar a line, cut by shares of 1 in the order of the names: (line, shares, what is said beside it)."""
    hues = [f"--hue: {(200 + 137.5 * number) % 360:.0f}" for number in range(len(names))]
    bars = []
    for line, parts, note in series:
        cut = "".join(
            f'<i style="{hue}; width: {100 * part:.2f}%" title="{escape(name)}: {part:.1%}"></i>'
            for hue, name, part in zip(hues, names, parts, strict=True)
        )
        bars.append(f'<span>{escape(line)}</span><div class="bar">{cut}</div><span>{escape(note)}</span>')
    key = "".join(f'<span><i style="{hue}"></i>{escape(name)}</span>' for hue, name in zip(hues, names, strict=True))
    return f'<div class="chart">{"".join(bars)}</div><div class="key">{key}</div>' if series else ""


def marked(runs: Iterable[tuple[str, bool]]) -> str:
    """Text as it is, the runs that are marked in bold."""
    return "<pre>" + "".join(f"<b>{escape(run)}</b>" if mark else escape(run) for run, mark in runs) + "</pre>"


def _bars(values: Sequence[int], highest: int) -> str:
    counts = [0] * BINS
    for value in values:
        counts[min(value * BINS // (highest + 1), BINS - 1)] += 1
    top, width = max(counts), (highest + 1) / BINS
    rects = "".join(
        f'<rect x="{place + 0.05:.2f}" y="{100 - 100 * count / top:.2f}" width="0.9" height="{100 * count / top:.2f}">'
        f"<title>{place * width:.0f} to {(place + 1) * width:.0f}: {count}</title></rect>"
        for place, count in enumerate(counts)
        if count
    )
    return f'<svg viewBox="0 0 {BINS} 100" preserveAspectRatio="none" role="img">{rects}</svg>'
