"""A new task for a run that is finished: only what is new trains, and the old tasks are measured before and after."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold import evaluate, report, routing, runs, store
from tenfold.config import Config, document, keys
from tenfold.config.schedule import ScheduleSettings
from tenfold.errors import ConfigError, RunError
from tenfold.evaluate import CaseSet, Result
from tenfold.evaluate.summary import summarise
from tenfold.progress import SILENT, Progress
from tenfold.statistics import Comparison, compare
from tenfold.store import RunFolder
from tenfold.training.run import Finished, run

OWN = {"output_dir", "base_model", "tasks", "seed"}


@dataclass(frozen=True)
class Change:
    """One metric of an old task under what the run answers it with, before and after. comparison: after with before."""

    before: Result
    after: Result
    comparison: Comparison


@dataclass(frozen=True)
class Added:
    """The run with what is new, the results of the new tasks, and what became of the old ones."""

    run: runs.Run
    results: list[Result]
    changes: list[Change]


def add(path: str | Path, task_file: str | Path, *, progress: Progress = SILENT) -> Added:
    """Train the tasks of a file (``tasks:`` alone, as in a config) on a run's base, beside what it has.

    The run holds the new tasks afterwards, in config.yaml, adapters, router and results, or is what it was. A new
    adapter trains with all others active where the run is stacked, else alone. Raises TenfoldError for what the user
    can mend.
    """
    opened = runs.load(path, progress=progress)
    given = _read(Path(task_file), opened.config)
    whole = _merged(opened.config, given)
    before = _measure(opened, opened.config, progress)
    work = opened.folder.path.parent / f".{opened.folder.path.name}.add"
    finished = _train(opened, given, work, progress)
    after = runs.Run(opened.folder, whole, finished.run.bank)
    sets = _measure(after, whole, progress)
    with store.atomic.folder(opened.folder.path) as place:
        results = _fill(place, opened.folder, finished, whole, sets, list(given.tasks))
        filled = runs.Run(RunFolder(place), whole, finished.run.bank)
        results += routing.conclude(filled, filled.tasks(), progress)
    shutil.rmtree(work, ignore_errors=True)
    report.leave(opened.folder.path, progress)
    return Added(after, results, _changes(before, sets, whole.seed))


def _read(path: Path, old: Config) -> Config:
    """The new tasks with what the run says for all of its tasks. Raises ConfigError with the line."""
    try:
        given = document.read(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    for key in given.values:
        if key != "tasks":
            raise ConfigError(f"{given.place((key,))[1]}: {key}: only tasks can be added: tasks.NAME, as in a config")
    tasks = given.values.get("tasks")
    for name in tasks if isinstance(tasks, dict) else ():
        if name in old.tasks:
            raise ConfigError(
                f"{given.place(('tasks', name))[1]}: tasks.{name}: is in the run already; name it otherwise"
            )
    _require_room(old)
    given.values = {**_top(old, tasks), "tasks": tasks}
    return Config.of(given, path.parent)


def _require_room(old: Config) -> None:
    if old.schedule == "mixture":
        raise RunError(
            f"{old.output_dir}: one adapter is trained on all tasks, so none can be added without the others"
        )
    if all(task.full for task in old.tasks.values()):
        raise RunError(f"{old.output_dir}: the base itself is trained on all tasks, so none can be added beside them")


def _top(old: Config, tasks: Any) -> dict[str, Any]:
    """What the run says for all tasks, but for the order of its stages and settings of kinds that are not new."""
    top = _values(old)
    own = [one or {} for one in tasks.values()] if isinstance(tasks, dict) else []
    asked = [one.get("adapter") or old.adapter for one in own if isinstance(one, dict)]
    kinds = {kind for one in asked if isinstance(one, str) for kind in keys.split(one)}
    known = keys.kind_settings()
    foreign = keys.adapter_keys() - {key for kind in kinds & known.keys() for key in known[kind].model_fields}
    dropped = foreign | set(ScheduleSettings.model_fields) | {"tasks"}
    return {key: value for key, value in top.items() if key not in dropped}


def _values(config: Config) -> dict[str, Any]:
    """A config's settings, paths absolute."""
    return document.read(config.dump(), str(config.output_dir)).values


def _merged(old: Config, new: Config) -> Config:
    """The run's config with the new tasks."""
    values, added = _values(old), _values(new)
    return Config.parse({**values, "tasks": {**values["tasks"], **added["tasks"]}}, require_files=False)


def _train(opened: runs.Run, given: Config, work: Path, progress: Progress) -> Finished:
    """The new tasks in a run of their own beside the run, on its base, with its adapters."""
    old, places = opened.config, opened.folder.adapters()
    lives = {task.name for task in old.tasks.values() if task.full}
    top = _values(given)
    top |= {"output_dir": str(work), "loras": {name: str(at) for name, at in places.items() if name not in lives}}
    if opened.folder.base.is_dir():
        top["base_model"] = str(opened.folder.base.resolve())
    if old.schedule == "sequential" and old.composition == "stacked":
        top |= {"schedule": "sequential", "train_ratio": 0.0, "evaluate_stages": False}
    finished = run(Config.parse(top), overwrite=True, progress=progress)
    if finished.interrupted:
        raise KeyboardInterrupt
    for name in lives & places.keys():  # heads of tasks in the base, which nothing new trains with
        store.load(finished.run.bank, places[name], name)
    return finished


def _measure(opened: runs.Run, config: Config, progress: Progress) -> list[CaseSet]:
    """Every task of a config with what a run's measuring takes."""
    wanted = runs.Run(opened.folder, config, opened.bank).wanted({})
    items = runs.measure_items(runs.load_tasks(config), wanted)
    sets = runs.measure(opened.bank, items, config, progress, loss=opened.staged)
    return runs.as_full(sets) if opened.folder.base.is_dir() else sets


def _fill(
    place: Path, old: RunFolder, finished: Finished, whole: Config, sets: Sequence[CaseSet], names: Sequence[str]
) -> list[Result]:
    """Everything that the run had, and what is new."""
    shutil.copytree(old.path, place, dirs_exist_ok=True, copy_function=_link)
    new, folder = finished.run.folder, RunFolder(place)
    for name, source in new.adapters().items():
        if name not in old.adapters():
            shutil.copytree(source, folder.adapter(name))
    for part in ("plan.json", "metrics.jsonl"):
        (place / "added" / "+".join(names)).mkdir(parents=True, exist_ok=True)
        shutil.copy(new.path / part, place / "added" / "+".join(names) / part)
    folder.write(folder.config.name, whole.dump())
    return [one for one in evaluate.save(place, list(sets), seed=whole.seed) if one.task in names]


def _link(source: str, target: str) -> None:
    """A second name for a file that is only ever replaced; what grows is copied."""
    if source.endswith(".jsonl"):
        shutil.copy2(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # a file system without such
        shutil.copy2(source, target)


def _changes(before: Sequence[CaseSet], after: Sequence[CaseSet], seed: int) -> list[Change]:
    """Each old task under what it is answered with: its own adapter, or all together where they are stacked."""
    kept, now = _answering(before), _answering(after)
    found = []
    for place, first in kept.items():
        second = now[place]
        ours = {one.metric: one for one in summarise([second], seed=seed)}
        for measure, one in zip(first.measures, summarise([first], seed=seed), strict=True):
            if measure.name in ours:
                rows = measure.rows(second.cases), measure.rows(first.cases)
                better, bounds = measure.higher_is_better, measure.bounds
                told = compare(*rows, measure.statistic, higher_is_better=better, bounds=bounds)
                found.append(Change(one, ours[measure.name], told))
    return found


def _answering(sets: Sequence[CaseSet]) -> Mapping[tuple[str, str], CaseSet]:
    """Of each task's split the set of the last composition: the one with most that is active."""
    return {(one.task, one.split): one for one in sets if one.composition}
