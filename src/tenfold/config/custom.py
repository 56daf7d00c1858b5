"""What ``schedule: custom`` asks of its stages: they name what is there, in an order that makes sense."""

from collections.abc import Iterable, Iterator, Mapping

from tenfold.config.problems import Problem, shown
from tenfold.config.resolved import ResolvedTask
from tenfold.config.schedule import FeedSettings, StageSettings
from tenfold.config.settings import RunSettings
from tenfold.errors import nearest

BASE = "base"
Tasks = Mapping[str, ResolvedTask]
Path = tuple[str, ...]


def problems(run: RunSettings, tasks: Tasks) -> Iterator[Problem]:
    """Everything that is wrong with the stages."""
    if not run.stages:
        yield Problem(("stages",), "required for schedule custom: a list of stages, each with train and rows")
    ready, based = adapters([*run.loras, *(task.name for task in tasks.values() if task.source)], tasks), True
    for number, stage in enumerate(run.stages):
        path = ("stages", str(number))
        found = list(_names(stage, path, tasks, run.loras))
        if BASE in stage.train:
            found += _base(stage, (*path, "train"), based)
        based = based and BASE in stage.train
        ready |= adapters(stage.train, tasks)
        yield from found or _activity(stage, path, ready, tasks)


def adapters(names: Iterable[str], tasks: Tasks) -> set[str]:
    """The adapters that names mean: a task with all of its own, or one."""
    return {one for name in names if name != BASE for one in (tasks[name].adapters if name in tasks else (name,))}


def active(feed: FeedSettings, task: ResolvedTask) -> list[str]:
    """What is active on a task's rows: as said, else its own, which is the base where it is trained in full."""
    return ([] if task.full else [task.name]) if feed.active is None else feed.active


def _names(stage: StageSettings, path: Path, tasks: Tasks, loras: Iterable[str]) -> Iterator[Problem]:
    known = {name for task in tasks.values() if not task.full for name in (task.name, *task.adapters)}
    rows = {task.name for task in tasks.values() if task.task.train}
    yield from (one for name in stage.train for one in _unknown(name, (*path, "train"), {*known, *loras, BASE}))
    for name, feed in stage.rows.items():
        there = (*path, "rows", name)
        yield from _unknown(name, there, rows)
        yield from (one for other in feed.active or () for one in _unknown(other, there, {*known, *loras}))


def _unknown(name: str, path: Path, known: set[str]) -> Iterator[Problem]:
    if name not in known:
        there = sorted(known)
        yield Problem(path, f"{shown(name)} given; must be of {', '.join(there)}{nearest(name, there)}")


def _base(stage: StageSettings, path: Path, first: bool) -> Iterator[Problem]:
    if len(stage.train) > 1:
        yield Problem(path, "base trains alone, with nothing beside it that would have to follow")
    elif not first:
        yield Problem(path, "the base trains in the first stages, before the adapters that stand on it")


def _activity(stage: StageSettings, path: Path, ready: set[str], tasks: Tasks) -> Iterator[Problem]:
    """What trains is active somewhere, and what is active has been trained or is."""
    used = {name: adapters(active(feed, tasks[name]), tasks) for name, feed in stage.rows.items()}
    for name, on in used.items():
        for one in sorted(on - ready):
            yield Problem((*path, "rows", name), f"{one!r} is active, but is trained neither before nor in this stage")
    for one in sorted(adapters(stage.train, tasks) - set().union(*used.values())):
        yield Problem((*path, "train"), f"{one!r} is active on none of the stage's rows, so it would learn nothing")
