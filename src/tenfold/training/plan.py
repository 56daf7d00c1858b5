"""What a run will do, as data: stages, made from the config by a pure function and printable before anything runs.

A stage is a set of lanes that train side by side. A lane is what steps together: its learners (adapters, or
the base itself), the tasks that feed them and what is active on those rows, for so many optimizer steps.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tenfold.adapters import BASE, Composition
from tenfold.config import Config
from tenfold.config.settings import TrainingSettings

BASE_LEARNER = "base"
"""The learner that is the base model itself (full finetuning)."""


@dataclass(frozen=True)
class Feed:
    """A task's training rows and what is active on them. weight: of its tokens in the lane's loss."""

    task: str
    composition: Composition
    rows: int
    weight: float = 1.0


@dataclass(frozen=True)
class Lane:
    """What steps together. Its loss is the mean over all supervised tokens of its optimizer step, weighted by feed."""

    name: str
    learners: tuple[str, ...]
    feeds: tuple[Feed, ...]
    steps: int
    training: TrainingSettings

    @property
    def batch(self) -> int:
        """Rows of one optimizer step."""
        return self.training.micro_batch_size * self.training.gradient_accumulation_steps

    @property
    def rows(self) -> int:
        """Rows of one epoch."""
        return sum(feed.rows for feed in self.feeds)


@dataclass(frozen=True)
class Stage:
    """Lanes that train side by side."""

    name: str
    lanes: tuple[Lane, ...]

    @property
    def steps(self) -> int:
        """Until the last lane is finished; the others have dropped out by then."""
        return max((lane.steps for lane in self.lanes), default=0)

    def to_json(self) -> dict[str, Any]:
        """For ``plan.json``."""
        lanes = [{**asdict(lane), "training": lane.training.model_dump()} for lane in self.lanes]
        return {"name": self.name, "steps": self.steps, "lanes": lanes}


def make(config: Config, rows: Mapping[str, int]) -> list[Stage]:
    """The stages of a config, given how many training rows each task has."""
    return [concurrent(config, rows)]


def concurrent(config: Config, rows: Mapping[str, int]) -> Stage:
    """One lane per task, each with its own adapters; with ``adapter: full`` one lane, the base on all tasks."""
    trained = [task for task in config.tasks.values() if task.task.train]
    if any(task.full for task in trained):
        feeds = tuple(Feed(task.name, BASE, rows[task.name], task.task.weight) for task in trained)
        return Stage("full", (_lane(BASE_LEARNER, (BASE_LEARNER,), feeds, trained[0].training),))
    lanes = [
        _lane(task.name, tuple(task.adapters), (Feed(task.name, task.composition, rows[task.name]),), task.training)
        for task in trained
    ]
    return Stage("concurrent", tuple(lanes))


def _lane(name: str, learners: tuple[str, ...], feeds: tuple[Feed, ...], training: TrainingSettings) -> Lane:
    total = sum(feed.rows for feed in feeds)
    return Lane(name, learners, feeds, steps(training, total), training)


def steps(training: TrainingSettings, rows: int) -> int:
    """Optimizer steps: as said, or as the epochs give (the last step takes what is left)."""
    batch = training.micro_batch_size * training.gradient_accumulation_steps
    return training.steps or math.ceil(seen(training, rows) / batch)


def seen(training: TrainingSettings, rows: int) -> int:
    """How many rows so many epochs of ``rows`` rows are, at least one."""
    return max(1, round(rows * training.num_epochs))
