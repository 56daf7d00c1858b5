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
    one, TASK.KIND where they are several; none where the base itself is trained. Tasks of a mixture have the same.
    label: what they are called together: the task's name, or that of the mixture. source: the folder that they begin
    from, as ``adapter_path`` or ``loras`` say.
    """

    name: str
    task: TaskSettings
    training: TrainingSettings
    adapters: dict[str, TaskAdapter]
    label: str
    source: str | None = None

    @property
    def full(self) -> bool:
        """Whether it trains the base itself."""
        return not self.adapters

    @property
    def composition(self) -> Composition:
        """All of its adapters."""
        return compose(*self.adapters)

    @property
    def adapter_paths(self) -> dict[str, str]:
        """The folder of each adapter where there is a source: PATH, or PATH.KIND where they are several."""
        given = self.source
        return {name: given.rstrip("/\\") + name.removeprefix(self.label) for name in self.adapters} if given else {}


@dataclass(frozen=True)
class Resolved:
    """``training`` and ``adapters`` (by kind) are what the top says for all tasks."""

    run: RunSettings
    training: TrainingSettings
    adapters: dict[str, BaseModel]
    tasks: dict[str, ResolvedTask]


def adapter_names(label: str, kinds: Sequence[str]) -> list[str]:
    """What a task's adapters are called: LABEL where it has one, LABEL.KIND for each where it has several."""
    return [label] if len(kinds) == 1 else [f"{label}.{kind}" for kind in kinds]
