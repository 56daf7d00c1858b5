"""Field F1 of JSON answers: how many of the expected fields are there with the expected values."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics._base import PerCase
from tenfold.evaluate.metrics._extraction import first_json

Field = tuple[tuple[str | None, ...], str]


class Metric(PerCase):
    """F1 over pairs of key path and value, mean over cases. The first JSON object or list in the answer
    counts, so that words around it cost nothing here (``json_valid`` sees them); no JSON is 0."""

    def extract(self, case: Case) -> Any:
        assert case.answer is not None
        return first_json(case.answer)

    def score(self, case: Case) -> float:
        return field_f1(self.extract(case), first_json(case.expected))


def field_f1(one: Any, other: Any) -> float:
    """Symmetric, in [0, 1]; 1 where both have the same fields. None stands for no JSON: 0."""
    if one is None or other is None:
        return 0.0
    a, b = Counter(flatten(one)), Counter(flatten(other))
    return 2 * (a & b).total() / (a.total() + b.total())


def flatten(value: Any, path: tuple[str | None, ...] = ()) -> Iterator[Field]:
    """Leaves with their paths; a list's items have no place in it, and what is empty is a leaf."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flatten(item, (*path, key))
    elif isinstance(value, list) and value:
        for item in value:
            yield from flatten(item, (*path, None))
    else:
        whole = isinstance(value, float) and value.is_integer()
        yield path, json.dumps(int(value) if whole else value)
