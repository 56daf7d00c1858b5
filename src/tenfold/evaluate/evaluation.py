"""Evaluation: every asked set under every asked composition, in one call to the engine and one to scoring."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import BASE, Composition
from tenfold.base.chat import end_of_turn
from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics import Measure
from tenfold.evaluate.preparation import Prepared, prepare
from tenfold.evaluate.work import Answers, Mark, Work
from tenfold.progress import SILENT, Progress
from tenfold.tasks import Task

BASE_LABEL = "base"


class Item(NamedTuple):
    """One set of cases to make: a task's split under a composition, which ``adapter`` is the label of."""

    task: Task
    split: str
    adapter: str = BASE_LABEL
    composition: Composition = BASE


@dataclass(frozen=True)
class CaseSet:
    """The cases of one item, judged by every metric. seconds: its share of the time that all took,
    by tokens, since rows of all items run in the same batches. parameters: of the base and of each active adapter."""

    task: str
    split: str
    adapter: str
    composition: Composition
    measures: list[Measure]
    cases: list[Case]
    seconds: float
    parameters: dict[str, int]


def evaluate(bank: Bank, items: Sequence[Item], *, loss: bool = False, progress: Progress = SILENT) -> list[CaseSet]:
    """The judged cases of every item, in order. Generation is greedy. loss: measured too where a task doesn't name it.

    Raises ConfigError for metrics that are unknown or can't be had, DataError for a split without rows,
    AdapterError for an adapter that is not in the bank.
    """
    tokenizer = bank.base.tokenizer
    prepared = {(item.task.name, item.split): prepare(item.task, item.split, bank.base) for item in _distinct(items)}
    if loss:
        prepared = {key: one.with_loss() for key, one in prepared.items()}
    work = Work(frozenset(end_of_turn(tokenizer, bank.base.model)))
    marks = [work.add(prepared[item.task.name, item.split], item.composition) for item in items]
    answers = work.run(bank, progress)
    return [
        _case_set(bank, item, prepared[item.task.name, item.split], mark, answers)
        for item, mark in zip(items, marks, strict=True)
    ]


def _distinct(items: Sequence[Item]) -> Iterable[Item]:
    return {(item.task.name, item.split): item for item in items}.values()


def _case_set(bank: Bank, item: Item, prepared: Prepared, marks: list[Mark], answers: Answers) -> CaseSet:
    cases = [
        judge(_case(bank, prepared, number, mark, answers), prepared.measures) for number, mark in enumerate(marks)
    ]
    return CaseSet(
        *(item.task.name, item.split, item.adapter, item.composition, prepared.measures, cases),
        seconds=answers.seconds(marks),
        parameters=count_parameters(bank, item.composition),
    )


def count_parameters(bank: Bank, composition: Composition) -> dict[str, int]:
    """How many the base has, and each adapter of a composition."""
    whole = sum(parameter.numel() for parameter in bank.base.model.parameters())
    return {BASE_LABEL: whole} | {name: bank.get(name).size for name, _ in composition}


def _case(bank: Bank, prepared: Prepared, number: int, mark: Mark, answers: Answers) -> Case:
    example, prompt = prepared.examples[number], prepared.encoded[number].prompt
    completion = None if mark.request is None else answers.completions[mark.request]
    loss = None if mark.loss is None else answers.scores[mark.loss]
    return Case(
        split=prepared.split,
        index=example.index,
        prompt=str(bank.base.tokenizer.decode(prompt)),
        expected=example.response,
        answer=completion.text if completion else None,
        finish=completion.finish if completion else None,
        nats=-loss.logprob if loss else None,
        tokens=loss.tokens if loss else None,
        options={option: answers.scores[row].logprob for option, row in mark.options.items()} or None,
    )


def judge(case: Case, measures: Sequence[Measure]) -> Case:
    """The case with what each metric makes of it; the first that takes something out or says right or
    wrong decides what the case shows as extracted and correct."""
    found = (measure.extract(case) for measure in measures)
    scores = {measure.name: measure.score(case) for measure in measures}
    binary = (scores[measure.name] == 1.0 for measure in measures if measure.binary)
    return replace(
        case,
        extracted=next((one for one in found if one is not None), None),
        correct=next(binary, None),
        scores={name: value for name, value in scores.items() if value is not None},
    )
