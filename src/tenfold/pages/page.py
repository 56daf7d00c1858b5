"""The page itself: a head, what was learnt, links to the sections, the sections; its style and plots inside it."""

import pathlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tenfold.pages.markup import Markup, element, join
from tenfold.pages.style import Drawing

STYLE = pathlib.Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""For browsers: nothing is loaded from anywhere, and nothing runs."""
FOOT = "Made by tenfold from {origin}; this page loads nothing from anywhere."


@dataclass(frozen=True)
class Section:
    """One part of a page. drawings: what stands in its content, for files of their own."""

    title: str
    content: Markup
    drawings: Sequence[Drawing] = field(default=())

    @property
    def anchor(self) -> str:
        """Where links lead; case counts, as it does in names."""
        return "-".join(self.title.split())


@dataclass(frozen=True)
class Page:
    """Everything that is shown. kind: what it is the page of. learnt: sentences. origin: what it was made from."""

    title: str
    kind: str
    learnt: Sequence[str]
    sections: Sequence[Section]
    origin: str

    def html(self) -> str:
        """The whole document."""
        links = (element("li", element("a", one.title, href=f"#{one.anchor}")) for one in self.sections)
        head = element(
            "header", element("p", self.kind, class_="kind"), element("h1", self.title),
            element("ul", join(element("li", one) for one in self.learnt), class_="learnt") if self.learnt else "",
        )  # fmt: skip
        body = (
            head,
            element("nav", element("ul", join(links)), aria_label="sections"),
            element("main", join(map(_section, self.sections))),
            element("footer", element("p", FOOT.format(origin=self.origin))),
        )
        return f'<!doctype html>\n<html lang="en">{_head(self.title)}{element("body", *body)}</html>\n'


def plots(drawings: Sequence[Drawing]) -> Markup:
    """Plots beside each other where there is room."""
    return element("div", join(one.inline() for one in drawings), class_="plots")


def note(text: object) -> Markup:
    """What a reader of a section should know."""
    return element("p", text, class_="note")


def facts(given: Sequence[tuple[str, str]]) -> Markup:
    """Single figures with what they are."""
    return element(
        "dl", join(element("div", element("dt", name), element("dd", value)) for name, value in given), class_="facts"
    )


def _section(one: Section) -> Markup:
    return element("section", element("h2", one.title), one.content, id=one.anchor)


def _head(title: str) -> Markup:
    return element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        Markup('<link rel="icon" href="data:,">'),
        element("title", f"{title} - tenfold"),
        element("style", Markup(STYLE.read_text("utf-8"))),
    )
