"""What an answer says, taken out of the text around it. The expected response goes through the same."""

import itertools
import json
import re
from collections.abc import Callable
from typing import Any

from tenfold.evaluate.cases import Case

INTEGER = re.compile(r"(?<!\w)-?\d+|\d+")
WORD = re.compile(r"\w+(?:['’-]\w+)*")
NO_INTEGER = -1
OPENINGS = 64


def exact(text: str) -> str:
    """The text without the white space around it."""
    return text.strip()


def first_integer(text: str) -> int:
    """The first integer, as FLoRA reads a label out of "the label is 2."; -1 where there is none."""
    found = INTEGER.search(text)
    return int(found.group()[:4000]) if found else NO_INTEGER


def first_word(text: str) -> str | None:
    """The first word, case folded; None where there is none."""
    found = WORD.search(text)
    return found.group().casefold() if found else None


def first_json(text: str) -> Any:
    """The first JSON object or list in the text, else the whole text as JSON, or None.

    Only so many opening brackets are tried, or an answer of nothing else would take quadratic time.
    """
    for match in itertools.islice(re.finditer(r"[{\[]", text), OPENINGS):
        try:
            return DECODER.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    return parse_json(text)


def parse_json(text: str) -> Any:
    """The whole text as JSON (RFC 8259: no NaN), or None."""
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def best_option(case: Case) -> str:
    """The most likely option; the first of several equal ones."""
    assert case.options, "the options were not scored"
    return max(case.options, key=case.options.__getitem__)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_refuse)
EXTRACTIONS: dict[str, Callable[[str], Any]] = {
    "exact": exact,
    "first_integer": first_integer,
    "first_word": first_word,
    "json": first_json,
}


def fitting(expected: str) -> Callable[[str], Any]:
    """The extraction for answers of which this one is expected: an integer, one word, JSON, or any text."""
    text = expected.strip()
    if INTEGER.fullmatch(text):
        return first_integer
    if WORD.fullmatch(text):
        return first_word
    return first_json if text[:1] in ("{", "[") and parse_json(text) is not None else exact
