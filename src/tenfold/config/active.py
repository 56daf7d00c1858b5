"""What is active on a task's rows: its own adapters, or all that there are so far.

heads: whether the base is for classification. Of several adapters with a head the last counts, so that a task's own
always stand last; a task that the base itself was trained on has nothing but a head, and without heads it has nothing.
"""

from collections.abc import Iterable

from tenfold.adapters import BASE, Composition, compose
from tenfold.config.model import Config
from tenfold.config.resolved import ResolvedTask


def own(task: ResolvedTask, heads: bool) -> Composition:
    """A task's own adapters; the base, or its head there, for a task that lives in the base."""
    if task.full:
        return compose(task.name) if heads else BASE
    return task.composition


def meant(config: Config, label: str, heads: bool = False) -> Composition:
    """What a label means: a task with all of its adapters, a mixture, or an adapter by its name."""
    found = next((task for task in config.tasks.values() if label in (task.name, task.label)), None)
    return own(found, heads) if found else compose(label)


def together(config: Config, task: ResolvedTask, labels: Iterable[str], heads: bool) -> Composition:
    """Everything that the labels mean, in their order, but with what is the task's own last.

    The heads of other tasks that live in the base are nothing to this one.
    """
    lives = {other.name for other in config.tasks.values() if other.full}
    every = dict.fromkeys(part for label in labels if label not in lives for part in meant(config, label))
    return on(task, tuple(every), heads)


def on(task: ResolvedTask, composition: Composition, heads: bool) -> Composition:
    """A composition for a task's rows: what is its own stands last, with its head where it lives in the base."""
    mine = dict(own(task, heads))
    last = own(task, heads) if task.full else tuple(part for part in composition if part[0] in mine)
    return (*(part for part in composition if part[0] not in mine), *last)


def start(config: Config) -> list[str]:
    """The labels of what is there before any training: the adapters that are brought along, in order."""
    brought = [task.label for task in config.tasks.values() if task.source]
    return list(dict.fromkeys([*config.loras, *brought]))


def trained(config: Config) -> list[ResolvedTask]:
    """The tasks that are trained, in order."""
    return [task for task in config.tasks.values() if task.task.train]
