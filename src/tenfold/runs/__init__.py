"""A run, opened for use: its base, its adapters in a bank, its tasks; measured and asked."""

from tenfold.runs.asking import MOST_NEW_TOKENS, answer, make_request, mix, spread
from tenfold.runs.measuring import answers, as_full, compositions, labelled, measure, measure_items, present, read_texts
from tenfold.runs.opening import choose_device, family, load_base, load_tasks
from tenfold.runs.run import Run, load

__all__ = [
    "MOST_NEW_TOKENS",
    "Run",
    "answer",
    "answers",
    "as_full",
    "choose_device",
    "compositions",
    "family",
    "labelled",
    "load",
    "load_base",
    "load_tasks",
    "make_request",
    "measure",
    "measure_items",
    "mix",
    "present",
    "read_texts",
    "spread",
]
