"""What there is in a run, by its labels, and what each task is measured with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tenfold import evaluate
from tenfold.adapters import BASE, Bank, Composition, copies
from tenfold.config import Config, active
from tenfold.evaluate import BASE_LABEL, CaseSet, Item
from tenfold.progress import SILENT, Progress
from tenfold.tasks import Task

FULL = "full"


def measure(
    bank: Bank, items: Sequence[Item], config: Config, progress: Progress = SILENT, *, loss: bool = False
) -> list[CaseSet]:
    """The judged cases of every item, and what its composition does to the base beyond its task."""
    sets = evaluate.evaluate(bank, items, loss=loss, progress=progress)
    tasks = {item.task.name: item.task for item in items}
    return evaluate.measure_drift(bank, sets, tasks.values(), read_texts(config), progress=progress)


def read_texts(config: Config) -> list[str]:
    """The general text on which every adapter is measured. Raises DataError."""
    return evaluate.read_texts(Path(config.general_text) if config.general_text else None)


def compositions(config: Config, bank: Bank) -> dict[str, Composition]:
    """What each task means by the task's name: all of its adapters, where these are in the bank."""
    found = {name: active.own(task, bool(bank.base.heads)) for name, task in config.tasks.items()}
    return {name: own for name, own in found.items() if all(part in bank.adapters for part, _ in own)}


def present(config: Config, bank: Bank) -> list[str]:
    """The labels of what is in a bank: tasks, a mixture, adapters that are no task's; in the order of training."""
    owned = compositions(config, bank)
    tasks = [task.label for name, task in config.tasks.items() if name in owned]
    others = [name for name in bank.adapters if not config.users(name)]
    order = dict.fromkeys([*active.start(config), *tasks, *others])
    return [label for label in order if label in {*tasks, *others}]


def labelled(
    config: Config, bank: Bank, task: Task, labels: Sequence[str], *, based: bool = False, cross: bool = False
) -> dict[str, Composition]:
    """What a task is measured with, by the label of its results.

    That is the base; its own adapter, or with ``cross`` every one there is; and all together, where they train stacked.
    labels: of what there is. based: whether the base was trained itself, and so is measured as ``full``.
    A base for classification is measured where what gives the answer has a head with the task's number of classes.
    """
    resolved, heads = config.task(task.name), bool(bank.base.heads)
    lives = {one.name for one in config.tasks.values() if one.full}
    single = [label for label in labels if label not in lives]
    found = {FULL: active.own(resolved, heads) if task.name in lives & set(labels) else BASE} if based else {}
    found = found or {BASE_LABEL: BASE}
    for label in single:
        if cross or label == resolved.label:
            found[label] = active.together(config, resolved, [label], heads)
    if config.schedule == "sequential" and config.composition == "stacked" and len(single) > 1:
        found["+".join(single)] = active.together(config, resolved, single, heads)
    return {label: one for label, one in found.items() if answers(bank, one, len(task.settings.classes))}


def answers(bank: Bank, composition: Composition, classes: int) -> bool:
    """Whether a composition has answers: for classification, whether its head has just so many classes."""
    if bank.base.family != "classification":
        return True
    sizes = [copies.classes(bank.base, bank.get(name).copies) for name, _ in composition]
    own = [size for size in sizes if size is not None]
    return own[-1] == classes if own else bank.base.answers(classes)


def measure_items(chosen: Sequence[Task], wanted: Callable[[Task], Mapping[str, Composition]]) -> list[Item]:
    """Every evaluation set of the tasks with everything that each is measured with."""
    return [
        Item(task, split, label, composition)
        for task in chosen
        for split in task.eval_sets
        for label, composition in wanted(task).items()
    ]


def as_full(sets: Sequence[CaseSet]) -> list[CaseSet]:
    """Cases of a base that was trained itself, told apart from those of the base as it came."""
    return [replace(one, composition=((FULL, 1.0),)) if not one.composition else one for one in sets]
