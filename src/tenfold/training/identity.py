"""What the numbers of a run follow from, as ``plan.json`` keeps it, so that resuming with anything else is refused."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenfold.adapters import Bank
from tenfold.base.layout import Row
from tenfold.errors import RunError
from tenfold.store import documents
from tenfold.training.plan import Stage


def describe(bank: Bank, stages: Sequence[Stage], data: Mapping[str, str], seed: int) -> dict[str, Any]:
    """JSON that differs where the final numbers would. data: the digest of each task's training rows."""
    adapters = {
        name: {
            "kind": own.kind,
            **own.config.model_dump(),
            "layers": list(own.modules),
            "own": [place for place in own.copies if place not in bank.base.heads],
        }
        for name, own in bank.adapters.items()
    }
    found = {
        "base_model": bank.base.fingerprint,
        "base_quantization": str(bank.base.quantization) if bank.base.quantization else None,
        "dtype": str(bank.base.dtype).removeprefix("torch."),
        "seed": seed,
        "rows": dict(data),
        "adapters": adapters,
        "stages": [stage.to_json() for stage in stages],
    }
    return json.loads(documents.text(found))  # type: ignore[no-any-return]


def digest(rows: Sequence[Row]) -> str:
    """Of rows of tokens with their flags, in order."""
    found = hashlib.sha256()
    for row in rows:
        beside = [list(row.source), row.label] if row.source or row.label is not None else []
        found.update(json.dumps([list(row.tokens), list(row.supervised), *beside]).encode())
    return found.hexdigest()


def join(digests: Sequence[str]) -> str | None:
    """One digest of several; of one that itself, of none None."""
    if len(digests) < 2:
        return digests[0] if digests else None
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def require_same(path: Path, planned: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises RunError with the first thing that is not what the run at ``path`` was planned with."""
    if changed := _difference({key: planned.get(key) for key in now}, now):
        where, before, given = changed
        raise RunError(f"{path}: cannot go on: {where} is {_shown(given)}, but was {_shown(before)} when it began")


def _difference(before: Any, now: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """The dotted place of the first difference, and both values there."""
    if isinstance(before, list) and isinstance(now, list):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if not isinstance(before, dict) or not isinstance(now, dict):
        return None if before == now else (where, before, now)
    for key in dict.fromkeys([*now, *before]):
        found = _difference(before.get(key), now.get(key), f"{where}.{key}" if where else str(key))
        if found:
            return found
    return None


def _shown(value: Any) -> str:
    text = "unset" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
