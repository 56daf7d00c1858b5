"""What a run will do, as data: stages, made from the config by a pure function and printable before anything runs.

A stage is a set of lanes that train side by side. A lane is what steps together: its learners (adapters, or
the base itself), the tasks that feed them and what is active on those rows, for so many optimizer steps.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tenfold import plugins
from tenfold.adapters import Composition
from tenfold.config import Config
from tenfold.config.settings import TrainingSettings

BASE_LEARNER = "base"
"""The learner that is the base model itself (full finetuning)."""


@dataclass(frozen=True)
class Feed:
    """A task's training rows and what is active on them.

    rows: how many they are in an epoch; fewer than the task has where a seeded shuffle takes a share of them.
    weight: of its tokens in the lane's loss. rate: how often its rows are drawn, beside those of the lane's other
    feeds; None where every row comes once an epoch.
    """

    task: str
    composition: Composition
    rows: int
    weight: float = 1.0
    rate: float | None = None


@dataclass(frozen=True)
class Lane:
    """What steps together. Its loss is the mean over all supervised tokens of its optimizer step, weighted by feed.

    apart: adapters whose directions the learners are kept apart from, by ``orthogonality`` (see ``penalties``).
    distillation: weight of the divergence from the base on the prompts of its rows (see ``distillation``).
    """

    name: str
    learners: tuple[str, ...]
    feeds: tuple[Feed, ...]
    steps: int
    training: TrainingSettings
    apart: tuple[str, ...] = ()
    orthogonality: float = 0.0
    distillation: float = 0.0

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
    """Lanes that train side by side.

    note: what a reader of the plan should know, e.g. that a task is replayed through the base. present: the labels of
    what there is after it, tasks (or adapters) in order of birth.
    """

    name: str
    lanes: tuple[Lane, ...]
    present: tuple[str, ...] = ()
    note: str = ""
    number: int = 0

    @property
    def trains_base(self) -> bool:
        """Whether the base itself learns."""
        return any(BASE_LEARNER in lane.learners for lane in self.lanes)

    @property
    def learners(self) -> list[str]:
        """Everything that learns, by name."""
        return [name for lane in self.lanes for name in lane.learners]

    @property
    def steps(self) -> int:
        """Until the last lane is finished; the others have dropped out by then."""
        return max((lane.steps for lane in self.lanes), default=0)

    def to_json(self) -> dict[str, Any]:
        """For ``plan.json``."""
        lanes = [{**asdict(lane), "training": lane.training.model_dump()} for lane in self.lanes]
        told = {"note": self.note} if self.note else {}
        return {"name": self.name, "steps": self.steps, "present": self.present, **told, "lanes": lanes}


def make(config: Config, rows: Mapping[str, int], *, heads: bool = False) -> list[Stage]:
    """The stages of a config, given how many training rows each task has.

    heads: whether the base is for classification, where every task has a head of its own.
    """
    schedule = plugins.find("tenfold.training.schedules", config.schedule, ("stages",))
    found: list[Stage] = schedule.stages(config, rows, heads)
    return [replace(stage, number=number) for number, stage in enumerate(found)]


def lane(name: str, learners: Sequence[str], feeds: Sequence[Feed], training: TrainingSettings, **more: Any) -> Lane:
    """A lane for as many steps as its training settings give."""
    return Lane(
        name, tuple(learners), tuple(feeds), steps(training, sum(feed.rows for feed in feeds)), training, **more
    )


def rename(stage: Stage, names: Mapping[str, str], prefix: str) -> Stage:
    """The same stage with other names for its adapters, and its lanes' names behind a prefix."""

    def renamed(own: Sequence[str]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in own)

    def fed(feed: Feed) -> Feed:
        return replace(feed, composition=tuple((names.get(name, name), weight) for name, weight in feed.composition))

    lanes = [
        replace(
            lane, name=prefix + lane.name, learners=renamed(lane.learners), apart=renamed(lane.apart),
            feeds=tuple(map(fed, lane.feeds)),
        )
        for lane in stage.lanes
    ]  # fmt: skip
    return replace(stage, lanes=tuple(lanes))


def cut(rows: int, share: float) -> int:
    """How many rows a share is, at least one."""
    return max(1, round(rows * share)) if rows else 0


def seed_of(seed: int, stage: int) -> int:
    """Where a stage's random numbers come from: of the first the run's own seed."""
    if stage == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}/{stage}".encode(), digest_size=8).digest(), "little") >> 1


def steps(training: TrainingSettings, rows: int) -> int:
    """Optimizer steps: as said, or as the epochs give (the last step takes what is left)."""
    batch = training.micro_batch_size * training.gradient_accumulation_steps
    return training.steps or math.ceil(seen(training, rows) / batch)


def seen(training: TrainingSettings, rows: int) -> int:
    """How many rows so many epochs of ``rows`` rows are, at least one."""
    return max(1, round(rows * training.num_epochs))
