"""Rows that are tokens already, by the column names of transformers: input_ids, labels or label, attention_mask."""

from typing import Any

from tenfold.errors import DataError
from tenfold.tasks.examples import Columns, Example, Tokens
from tenfold.tasks.settings import TaskSettings


def token_example(index: int, row: Columns, settings: TaskSettings, where: str) -> Example:
    """One row's example, without text of its own; a class is its name. Raises DataError, with the row."""
    ids, mask = _numbers(row, "input_ids", where), row.get("attention_mask")
    if not ids:
        raise DataError(f"{where}: input_ids: it has no tokens; at least 1 is needed")
    seen = [True] * len(ids) if mask is None else [bool(one) for one in _numbers(row, "attention_mask", where)]
    if len(seen) != len(ids):
        raise DataError(f"{where}: {len(ids)} input_ids, but {len(seen)} of attention_mask")
    given = row["labels"] if "labels" in row else row.get("label")
    ids = [one for one, there in zip(ids, seen, strict=True) if there]
    if isinstance(given, int):
        return Example(index, "", _class(given, settings, where), row, tokens=Tokens(ids, label=given))
    labels = None if given is None else _numbers(row, "labels", where)
    if labels is not None and len(labels) == len(seen):
        labels = [one for one, there in zip(labels, seen, strict=True) if there]
    return Example(index, "", "", row, tokens=Tokens(ids, labels=labels))


def _numbers(row: Columns, name: str, where: str) -> list[int]:
    found: Any = row.get(name)
    if not isinstance(found, list) or not all(isinstance(one, int) for one in found):
        raise DataError(f"{where}: {name} must be whole numbers, one a token, not {str(found)[:60]}")
    return found


def _class(number: int, settings: TaskSettings, where: str) -> str:
    if not 0 <= number < len(settings.classes):
        raise DataError(f"{where}: class {number} is none of the {len(settings.classes)} that options names")
    return settings.classes[number]
