"""Before and after: what the base answered, what the adapter answers, what was expected, differences marked."""

import difflib
import re
from collections.abc import Iterator, Sequence

from tenfold.evaluate import BASE_LABEL, Result
from tenfold.evaluate.cases import Case
from tenfold.evaluate.pairs import find_cases
from tenfold.pages.markup import Markup, element, join
from tenfold.pages.page import Section, note
from tenfold.report.source import Source, adapted

LONGEST = 1200
"""Characters of a text that are shown."""
WANTED = ((False, True, 2), (False, False, 1), (True, False, 2), (True, True, 1))
"""Whether the base and the adapter were right, and how many such cases are shown."""
MOST_TASKS = 12
WORDS = re.compile(r"\s+|\w+|[^\w\s]")
TOLD = (
    "A few rows of each task: those that the adapter mended first, then those that neither answered, then any that it "
    "spoilt. Marked against what was expected: struck through is too much, underlined is missing."
)


def section(source: Source) -> Section | None:
    """Rows of every task under the base and under its first adapter, from the kept cases of the first seed."""
    blocks = []
    for one in _first(source)[:MOST_TASKS]:
        run = source.runs[0].path
        base, own = (find_cases(run, one.task, one.split, label) for label in (BASE_LABEL, one.adapter))
        if chosen := list(choose(base, own)):
            title = element("h3", source.names[one.task, one.split])
            blocks.append(join([title, *(_block(before, after, one.adapter) for before, after in chosen)]))
    return Section("Examples", join([note(TOLD), *blocks])) if blocks else None


def choose(base: Sequence[Case], own: Sequence[Case]) -> Iterator[tuple[Case, Case]]:
    """Pairs of the same row, of each outcome as many as are wanted; none where the cases are of other rows."""
    if [one.index for one in base] != [one.index for one in own]:
        return
    pairs = [(a, b) for a, b in zip(base, own, strict=True) if _text(b) is not None and _text(a) is not None]
    for before, after, count in WANTED:
        same = [pair for pair in pairs if (right(pair[0]), right(pair[1])) == (before, after)]
        yield from same[:count]


def right(case: Case) -> bool:
    """Whether a metric says so, else whether the answer is what was expected."""
    return case.correct if case.correct is not None else str(_text(case)).strip() == case.expected.strip()


def mark(given: str, expected: str) -> Markup:
    """The given text, what is too much in ``del`` and what is missing in ``ins``, word by word."""
    ours, theirs = WORDS.findall(given), WORDS.findall(expected)
    parts: list[object] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        extra, lacking = "".join(ours[i:j]), "".join(theirs[k:m])
        if kind == "equal":
            parts.append(extra)
            continue
        parts += [element(name, text) for name, text in (("del", extra), ("ins", lacking)) if text]
    return join(parts)


def _first(source: Source) -> list[Result]:
    """The first result of each task and split under an adapter."""
    found: dict[tuple[str, str], Result] = {}
    for one in adapted(source.tasks):
        found.setdefault((one.task, one.split), one)
    return list(found.values())


def _block(before: Case, after: Case, adapter: str) -> Markup:
    answers = [
        element("div", element("h4", "expected"), element("pre", _cut(after.expected.strip()))),
        _answer("base", before),
        _answer(adapter, after),
    ]
    return element(
        "div", element("pre", _cut(after.prompt)), element("div", join(answers), class_="answers"), class_="case"
    )


def _answer(who: str, case: Case) -> Markup:
    good = right(case)
    said = element("span", "right" if good else "wrong", class_="right" if good else "wrong")
    shown = mark(_cut(str(_text(case)).strip()), _cut(case.expected.strip()))
    return element("div", element("h4", who, ", ", said), element("pre", shown))


def _text(case: Case) -> object:
    if case.answer is not None:
        return case.answer
    if case.options:
        return max(case.options, key=case.options.__getitem__)
    return case.extracted


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
