"""Task metrics when rows go through other adapters than their own: routed, random, soft, merged.

What an adapter answers to a row does not depend on the other rows, so that cases that were evaluated already are taken
as they are and only the others run. A row keeps its own task's prompt: a misroute changes the adapter alone.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from tenfold import evaluate
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.evaluate import CaseSet, Item
from tenfold.evaluate.cases import Case, case_file, read_cases
from tenfold.evaluate.evaluation import count_parameters
from tenfold.evaluate.preparation import prepare
from tenfold.progress import SILENT, Progress
from tenfold.route.router import Router
from tenfold.route.rows import texts
from tenfold.tasks import Task

Place = tuple[str, str]  # task, split
Chosen = dict[Place, list[Composition]]
GRAIN = 0.1  # weights of soft mixtures are rounded to this, so that rows share them


def routed(router: Router, tasks: Sequence[Task], owned: Mapping[str, Composition], abstain: bool = True) -> Chosen:
    """What the router gives every row: one adapter, or the base where it abstains."""
    return {
        (task.name, split): [_owned(owned, one.adapter) for one in router.decide(texts(examples), abstain)]
        for task, split, examples in _places(tasks)
    }


def randomly(tasks: Sequence[Task], owned: Mapping[str, Composition], seed: int) -> Chosen:
    """One of the adapters for each row, drawn by the seed."""
    draw, names = random.Random(seed), list(owned)
    return {(t.name, split): [owned[draw.choice(names)] for _ in rows] for t, split, rows in _places(tasks)}


def softly(
    router: Router, tasks: Sequence[Task], owned: Mapping[str, Composition], top: int, temperature: float
) -> Chosen:
    """The most probable adapters weighted by probability, in one pass; the base where the router abstains."""
    found: Chosen = {}
    for task, split, examples in _places(tasks):
        asked = texts(examples)
        found[task.name, split] = [
            _mixed(router.mixture(text, top, temperature), owned) if decision.adapter else BASE
            for text, decision in zip(asked, router.decide(asked), strict=True)
        ]
    return found


def merged(tasks: Sequence[Task], owned: Mapping[str, Composition]) -> Chosen:
    """The mean of all adapters, the exact sum that ``combine --method cat`` makes, for every row."""
    mean = compose(*((name, weight / len(owned)) for one in owned.values() for name, weight in one))
    return {(task.name, split): [mean] * len(rows) for task, split, rows in _places(tasks)}


def mix(weights: Mapping[str, float], owned: Mapping[str, Composition]) -> Composition:
    """Tasks with weights as one composition of their adapters; a task without adapters adds nothing."""
    return compose(*((name, w * weight) for task, w in weights.items() for name, weight in owned.get(task, BASE)))


def _mixed(weights: Mapping[str, float], owned: Mapping[str, Composition]) -> Composition:
    rounded = {task: round(round(weight / GRAIN) * GRAIN, 6) for task, weight in weights.items()}
    return mix({task: weight for task, weight in rounded.items() if weight}, owned)


def assemble(
    bank: Bank, tasks: Sequence[Task], known: Sequence[CaseSet], chosen: Chosen, label: str, progress: Progress = SILENT
) -> list[CaseSet]:
    """The cases of every row under what was chosen for it, those that are known taken as they are."""
    found = {(one.task, one.split, one.composition): one.cases for one in known}
    items, places = [], []
    for task, split, _ in _places(tasks):
        wanted = chosen[task.name, split]
        for composition in dict.fromkeys(wanted):
            if (task.name, split, composition) not in found:
                rows = [row for row, one in enumerate(wanted) if one == composition]
                items.append(Item(_part(bank, task, split, rows), split, label, composition))
                places.append((task.name, split, composition, rows))
    more: dict[tuple[str, str, Composition, int], Case] = {}
    for place, one in zip(places, evaluate.evaluate(bank, _named(items), progress=progress), strict=True):
        more |= {(*place[:3], row): case for row, case in zip(place[3], one.cases, strict=True)}
    sets = []
    for task, split, _ in _places(tasks):
        cases = [
            found[task.name, split, one][row] if (task.name, split, one) in found else more[task.name, split, one, row]
            for row, one in enumerate(chosen[task.name, split])
        ]
        measures = prepare(task, split, bank.base).measures
        sizes = count_parameters(bank, tuple(dict(chain.from_iterable(chosen[task.name, split])).items()))
        sets.append(CaseSet(task.name, split, label, ((label, 1.0),), measures, cases, 0.0, sizes))
    return sets


def _named(items: Sequence[Item]) -> list[Item]:
    """Items of one task and split with different rows, told apart: evaluation takes one set of rows for each name."""
    return [item._replace(task=replace(item.task, name=f"{item.task.name}#{n}")) for n, item in enumerate(items)]


def _part(bank: Bank, task: Task, split: str, rows: Sequence[int]) -> Task:
    """A task with some rows of one split, whose answers may be as long as those of all."""
    longest = prepare(task, split, bank.base).max_new_tokens
    settings = task.settings.model_copy(update={"max_new_tokens": max(longest, 1)})
    return replace(task, settings=settings, eval_sets={split: [task.eval_sets[split][row] for row in rows]})


def kept(folder: Path, tasks: Sequence[Task], labels: Mapping[str, Composition], bank: Bank) -> list[CaseSet]:
    """The cases that a run has of its tasks under these labels, as far as they are of the same rows."""
    found = []
    for task, split, rows in _places(tasks):
        for label, composition in labels.items():
            path = case_file(folder, task.name, label)
            cases = [case for case in read_cases(path) if case.split == split] if path.exists() else []
            if [(case.index, case.expected) for case in cases] == [(row.index, row.response) for row in rows]:
                measures = prepare(task, split, bank.base).measures
                found.append(
                    CaseSet(
                        task.name, split, label, composition, measures, cases, 0.0, count_parameters(bank, composition)
                    )
                )
    return found


def _places(tasks: Sequence[Task]) -> list[tuple[Task, str, list]]:  # type: ignore[type-arg]
    return [(task, split, rows) for task in tasks for split, rows in task.eval_sets.items()]


def _owned(owned: Mapping[str, Composition], task: str | None) -> Composition:
    return BASE if task is None else owned.get(task, BASE)
