"""What a config comes to: the settings of the run and of each task, and the names of a task's adapters."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from tenfold.adapters import Composition, compose
from tenfold.config.settings import RunSettings, TrainingSettings
from tenfold.tasks.settings import TaskSettings


@dataclass(frozen=True)
class TaskAdapter:
    """One of a task's adapters: its kind by name, and that kind's settings."""

    kind: str
    settings: BaseModel


@dataclass(frozen=True)
class ResolvedTask:
    """Everything that holds for one task.

    adapters: by the names that they have in the bank and on disk, in the order in which they apply: TASK where it is
    one, TASK.KIND where they are several; none where the base itself is trained.
    """

    name: str
    task: TaskSettings
    training: TrainingSettings
    adapters: dict[str, TaskAdapter]

    @property
    def full(self) -> bool:
        """Whether it trains the base itself."""
        return not self.adapters

    @property
    def composition(self) -> Composition:
        """What is active on its rows: all of its adapters."""
        return compose(*self.adapters)

    @property
    def adapter_paths(self) -> dict[str, str]:
        """The folder of each adapter where ``adapter_path`` is given: PATH, or PATH.KIND where they are several."""
        given = self.task.adapter_path
        return {name: given.rstrip("/\\") + name.removeprefix(self.name) for name in self.adapters} if given else {}


@dataclass(frozen=True)
class Resolved:
    """``training`` and ``adapters`` (by kind) are what the top says for all tasks."""

    run: RunSettings
    training: TrainingSettings
    adapters: dict[str, BaseModel]
    tasks: dict[str, ResolvedTask]


def adapter_names(task: str, kinds: Sequence[str]) -> list[str]:
    """What a task's adapters are called: TASK where it has one, TASK.KIND for each where it has several."""
    return [task] if len(kinds) == 1 else [f"{task}.{kind}" for kind in kinds]
