"""What goes on as it is when a run's base becomes another: the numbers of adapters, and the head of the last task."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tenfold.adapters import Bank
from tenfold.config import Config, active
from tenfold.training.plan import Stage

Numbers = Mapping[str, Mapping[str, Tensor]]


def names(config: Config, bank: Bank, stages: Sequence[Stage]) -> list[str]:
    """The adapters in the bank that stages have trained, or that were brought along."""
    trained = {name for stage in stages for name in stage.learners}
    brought = {name for label in active.start(config) for name, _ in active.meant(config, label)}
    return [name for name in bank.adapters if name in trained | brought]


def take(bank: Bank, adapters: Iterable[str]) -> Numbers:
    """Their numbers, by adapter and name."""
    return {name: {**bank.parameters(name), **bank.constants(name)} for name in adapters}


@torch.no_grad()
def give(bank: Bank, numbers: Numbers) -> None:
    """Put them into a bank that has the same adapters; what now belongs to the base is left out."""
    for name, kept in numbers.items():
        for key, tensor in {**bank.parameters(name), **bank.constants(name)}.items():
            tensor.copy_(kept[key])


@contextmanager
def with_head(bank: Bank, config: Config, stage: Stage) -> Iterator[None]:
    """For as long as it is written, a base for classification has the head of the task that it was trained on last."""
    tasks = [task for task in config.tasks.values() if task.name in stage.learners]
    if not bank.base.heads or not tasks:
        yield
        return
    model, classes = bank.base.model, tasks[-1].task.classes
    own = bank.get(tasks[-1].name).copies
    before, config_before = {place: model.get_submodule(place) for place in own}, model.config
    try:
        _put(model, own)
        model.config = copy.deepcopy(config_before)
        model.config.num_labels = len(classes)
        model.config.id2label = dict(enumerate(classes))
        model.config.label2id = {name: number for number, name in enumerate(classes)}
        yield
    finally:
        _put(model, before)
        model.config = config_before


def _put(model: nn.Module, modules: Mapping[str, nn.Module]) -> None:
    for place, module in modules.items():
        model.set_submodule(place, module)
