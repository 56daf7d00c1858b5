"""``sweep.json``: everything that a sweep has found so far, as pages and tables take it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tenfold import machine
from tenfold.errors import RunError
from tenfold.store import atomic, documents
from tenfold.sweep import choice
from tenfold.sweep.candidates import Candidates
from tenfold.sweep.conclusion import conclude
from tenfold.sweep.study import Kept

FILE = "sweep.json"
BEST = "best.yaml"


def gather(candidates: Candidates, trials: Sequence[Kept], budget: int | None, created: str) -> dict[str, Any]:
    """The whole document. budget: of a comparison."""
    sweep, best = candidates.sweep, choice.best(candidates.sweep, trials)
    config = candidates.of(trials[0].point).config
    allowed = [name for name, task in config.tasks.items() if task.task.allow_overlap]
    return {
        "name": sweep.output_dir.name, "created": created, "machine": _environment(),
        "base": config.base_model,
        "tasks": [name for name, task in config.tasks.items() if task.task.train], "overlap": allowed,
        "metric": sweep.settings.metric, "trials": [_trial(one, candidates) for one in trials],
        "best": best.number if best else None,
        "comparison": conclude(sweep, trials, budget, allowed) if budget is not None else None,
    }  # fmt: skip


def write(candidates: Candidates, trials: Sequence[Kept], budget: int | None) -> dict[str, Any]:
    """Write it, and the config of the best trial, whole."""
    folder = candidates.sweep.output_dir
    found = gather(candidates, trials, budget, _created(candidates))
    documents.write(folder / FILE, found)
    if found["best"] is not None:
        best = next(one for one in trials if one.number == found["best"])
        atomic.write(folder / BEST, candidates.of(best.point).config.dump())
    return found


def _environment() -> dict[str, Any]:
    return {"machine": machine.describe(), "versions": machine.versions((*machine.PACKAGES, "optuna"))}


def _created(candidates: Candidates) -> str:
    """When the sweep began."""
    path = candidates.sweep.output_dir / FILE
    before = documents.read_object(path, RunError) if path.is_file() else {}
    return str(before.get("created") or datetime.now(UTC).isoformat(timespec="seconds"))


def _trial(one: Kept, candidates: Candidates) -> dict[str, Any]:
    candidate, record = candidates.of(one.point), one.record
    settings: Mapping[str, Any] = one.point.settings
    return {
        "number": one.number, "state": one.state, "group": one.point.group, "legend": candidate.legend,
        "kind": candidate.kind, "settings": dict(settings), "seed": one.point.seed,
        "learning_rate": candidate.rate, "parameters": candidate.parameters,
        "values": record.get("values", {}), "curves": record.get("curves", {}),
        "seconds": record.get("seconds", 0.0), "reason": record.get("reason", ""),
    }  # fmt: skip
