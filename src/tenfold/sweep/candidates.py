"""Trials before they run: the config of each, how large it is, what it is called."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel
from transformers import PreTrainedModel

from tenfold import base, plugins
from tenfold.adapters import sizes
from tenfold.config import Config, ResolvedTask, active
from tenfold.errors import ConfigError
from tenfold.progress import Progress
from tenfold.store import documents
from tenfold.sweep import legends
from tenfold.sweep.document import CONFIG, Sweep, require_fair
from tenfold.sweep.points import Point

DATA = ("base_model", "device", "dtype", "base_quantization", "bnb_4bit_use_double_quant", "bnb_4bit_compute_dtype",
        "model_type", "family")  # fmt: skip
"""Settings of a run that say which base it stands on."""


@dataclass(frozen=True)
class Candidate:
    """A trial that can run. parameters: that one task's adapters have."""

    point: Point
    config: Config
    parameters: int
    kind: str
    legend: str

    @property
    def rate(self) -> float:
        """The learning rate of its first task."""
        return _first(self.config).training.learning_rate

    @property
    def place(self) -> str:
        """What it stands on: trials of one place share base and tokens."""
        return place(self.config)


@dataclass
class Candidates:
    """Makes them, and keeps the shapes of the models that they stand on."""

    sweep: Sweep
    progress: Progress
    models: dict[str, PreTrainedModel] = field(default_factory=dict)
    known: dict[str, Candidate] = field(default_factory=dict)

    def of(self, point: Point) -> Candidate:
        """Raises ConfigError or AdapterError for settings that are not allowed."""
        if point.key not in self.known:
            config = self.sweep.configure(point)
            task = _first(config)
            number = sizes.total(self.model(config), _kinds(task))
            legend = legends.label(task, point, self.sweep.seeds)
            self.known[point.key] = Candidate(point, config, number, legends.kind_of(task), legend)
        return self.known[point.key]

    def model(self, config: Config) -> PreTrainedModel:
        """A base's shapes, without weights."""
        if config.base_model not in self.models:
            self.models[config.base_model] = base.skeleton(config.base_model, progress=self.progress)
        return self.models[config.base_model]


def place(config: Config) -> str:
    """Names a base and the rows on it."""
    tasks = {name: task.task.model_dump(mode="json") for name, task in config.tasks.items()}
    return documents.text([config.model_dump(mode="json", include=set(DATA)), str(config.folder), tasks]).decode()


def matched(sweep: Sweep, progress: Progress) -> tuple[Sweep, int]:
    """A comparison whose entries have the rank or width that brings them nearest to the budget, and the budget.

    Raises ConfigError for entries that can't be compared, or have nothing to match.
    """
    work = Candidates(sweep, progress)
    budget = sweep.settings.budget
    leader = budget if isinstance(budget, str) else next(iter(sweep.entries)) if budget is None else None
    found = {name: _entry(work, name) for name in sweep.entries}
    wanted = budget if isinstance(budget, int) else found[leader or ""].parameters
    first = next(iter(found.values()))
    for name, one in found.items():
        require_fair(sweep, one.config)
        if one.place != first.place:
            told = f"entry {name!r} changes the base or the rows; all are compared on the same"
            raise ConfigError(f"{sweep.where('compare')}: compare: {told}")
    entries = [
        entry if name == leader else entry.model_copy(update={"changes": _fitted(work, name, found[name], wanted)})
        for name, entry in sweep.entries.items()
    ]
    return replace(sweep, settings=sweep.settings.model_copy(update={"compare": entries})), wanted


def _entry(work: Candidates, name: str) -> Candidate:
    return work.of(Point(name, {}, work.sweep.seeds[0]))


def _fitted(work: Candidates, name: str, one: Candidate, wanted: int) -> dict[str, Any]:
    """What an entry changes, with the value at which it has as many parameters as are wanted."""
    entry, task = work.sweep.entries[name], _first(one.config)
    model, kinds = work.model(one.config), _kinds(task)
    keys = {plugins.find("tenfold.adapters", kind).BUDGET: kind for kind in kinds}
    fit = entry.fit or (next(iter(keys)) if len(keys) == 1 else None)
    where = work.sweep.where("compare")
    if fit is None or fit not in keys:
        known = ", ".join(str(key) for key in keys if key) or f"none of {one.kind} has such"
        raise ConfigError(f"{where}: entry {name!r}: fit: {fit or 'nothing'} given; must be {known}")
    own = keys[fit]
    rest = sizes.total(model, {kind: config for kind, config in kinds.items() if kind != own})
    if wanted <= rest:
        raise ConfigError(f"{where}: entry {name!r}: has {rest:,} parameters without {fit}, of a budget of {wanted:,}")
    config, _ = sizes.matched(model, own, kinds[own], wanted - rest)
    return {**entry.changes, fit: getattr(config, fit)}


def _first(config: Config) -> ResolvedTask:
    """The first task that trains. Raises ConfigError for one that trains the base, which trials share."""
    tasks = active.trained(config)
    if full := next((task.name for task in config.tasks.values() if task.full), None):
        where = config.where("tasks", full)
        raise ConfigError(f"{where}: tasks.{full}: trains the base itself, which the trials of a sweep share")
    if not tasks:
        raise ConfigError(f"{config.where(CONFIG)}: tasks: none of them trains anything")
    return tasks[0]


def _kinds(task: ResolvedTask) -> Mapping[str, BaseModel]:
    return {own.kind: own.settings for own in task.adapters.values()}
