"""Misspelt words as people typed them (codespell's dictionary) -> the word that was meant.

Only entries with one correction, of long words that are misspelt often, where one letter after the
second was lost, added, changed or swapped with its neighbour. Splits are disjoint by the corrected word.
"""

import collections
import importlib.resources
import random

from tenfold.tasks.synthetic._splits import check_rows, load_extra, split_of

LETTERS = range(8, 15)
OFTEN = 15  # misspellings of a word that the dictionary knows
KEPT = 2  # letters at the beginning that are right


def rows(split: str, n: int, seed: int) -> list[dict[str, str]]:
    """n rows {text: "definately", answer: "definitely"}, each misspelling once."""
    pairs = [(wrong, right) for wrong, right in _pairs() if split_of(right) == split]
    check_rows("spelling", split, n, len(pairs))
    chosen = random.Random(f"spelling {split} {seed}").sample(pairs, n)
    return [{"text": wrong, "answer": right} for wrong, right in chosen]


def _pairs() -> list[tuple[str, str]]:
    load_extra("spelling", "codespell_lib")
    text = (importlib.resources.files("codespell_lib") / "data" / "dictionary.txt").read_text("utf-8")
    pairs = [(wrong, right) for wrong, _, right in (line.partition("->") for line in text.splitlines())]
    pairs = [pair for pair in pairs if all(map(_is_plain, pair)) and len(pair[1]) in LETTERS]
    often = collections.Counter(right for _, right in pairs)
    return [
        (wrong, right)
        for wrong, right in pairs
        if often[right] >= OFTEN and wrong[:KEPT] == right[:KEPT] and is_one_slip(wrong, right)
    ]


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isalpha() and word.islower()


def is_one_slip(wrong: str, right: str) -> bool:
    """Whether one letter lost, added, changed or swapped with its neighbour makes one of the other."""
    start = next((i for i, (a, b) in enumerate(zip(wrong, right, strict=False)) if a != b), min(len(wrong), len(right)))
    w, r = wrong[start:], right[start:]
    return wrong != right and (w[1:] == r or w == r[1:] or w[1:] == r[1:] or (w[:2] == r[1::-1] and w[2:] == r[2:]))
