"""HTML from Python values. Text is escaped unless it is ``Markup`` already, so that data can't become markup."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

UNSEEN = {code: "\ufffd" for code in (*range(32), 127) if code not in (9, 10, 13)}
"""Control characters, which HTML does not allow."""


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


def escape(value: object) -> Markup:
    """Any value as HTML text; what HTML cannot hold becomes a replacement character."""
    if isinstance(value, Markup):
        return value
    text = str(value).encode("utf-8", "replace").decode("utf-8").translate(UNSEEN)
    return Markup(html.escape(text))


def join(parts: Iterable[object]) -> Markup:
    """Several values after each other."""
    return Markup("".join(escape(part) for part in parts))


def element(name: str, *children: object, **attributes: Any) -> Markup:
    """``element("p", "a < b", class_="note")``; attributes that are None or False are left out, True stands bare."""
    opened = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            attribute = key.rstrip("_").replace("_", "-")
            opened.append(attribute if value is True else f'{attribute}="{escape(value)}"')
    return Markup(f"<{' '.join(opened)}>{join(children)}</{name}>")


def table(
    headers: Sequence[object], rows: Iterable[Sequence[object]], *, left: Sequence[int] = (0,),
    long: Sequence[int] = (), name: str = "table", best: int | None = None,
) -> Markup:  # fmt: skip
    """A table that scrolls by itself where the page is narrow. The columns in ``left`` are text, others numbers; text
    in those of ``long`` goes on in a new line. The row ``best`` stands out."""
    kinds = [_kind(place in left, place in long) for place in range(len(headers))]
    head = join(element("th", cell, scope="col", class_=kind) for cell, kind in zip(headers, kinds, strict=True))
    lines = join(
        element("tr", join(_cells(row, kinds)), class_="best" if place == best else None)
        for place, row in enumerate(rows)
    )
    whole = element("table", element("thead", element("tr", head)), element("tbody", lines))
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=name)


def _kind(text: bool, long: bool) -> str | None:
    return " ".join(name for name, given in (("text", text), ("long", long)) if given) or None


def _cells(row: Sequence[object], kinds: Sequence[str | None]) -> Iterable[Markup]:
    assert len(row) == len(kinds), (row, kinds)
    return (element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True))


def folded(summary: object, *children: object) -> Markup:
    """What is shown when its summary is clicked."""
    return element("details", element("summary", summary), *children)


def measured(value: str, interval: str = "") -> Markup:
    """A value, and its interval in a softer colour."""
    return join([value, element("span", interval, class_="interval") if interval else ""])


def verdict(word: str) -> Markup:
    """``better``, ``worse`` or ``not distinguishable``, in its colour."""
    return element("span", word, class_=f"verdict {word.replace(' ', '-')}") if word else Markup("")
