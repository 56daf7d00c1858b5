"""One task after the other, with joint stages on all so far: Multiple LoRA Training (MLT, github.com/ostix360/MLT).

Optionally the first task trains the whole model. Then each task has a stage of its own, in which its new adapter
trains, and a joint stage on a share of the rows of every task so far, in which the adapters of all of them train.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.adapters import Composition
from tenfold.config import Config, ResolvedTask, TrainingSettings, active
from tenfold.training import plan
from tenfold.training.plan import BASE_LEARNER, Feed, Lane, Stage


def stages(config: Config, rows: Mapping[str, int], heads: bool) -> list[Stage]:
    """One or two stages for each task that trains, in the order of the file."""
    work = _Sequence(config, rows, heads, active.start(config))
    found = []
    for task in active.trained(config):
        found.append(work.solo(task))
        if config.train_ratio and not (config.finetune_first and len(work.sofar) == 1):
            found.append(work.joint())
    return found


@dataclass
class _Sequence:
    """present: labels of what there is so far; sofar: the tasks that were trained so far."""

    config: Config
    rows: Mapping[str, int]
    heads: bool
    present: list[str]
    sofar: list[ResolvedTask] = field(default_factory=list)

    def solo(self, task: ResolvedTask) -> Stage:
        """A task's own stage; with a replay ratio, a part of the earlier tasks' rows too."""
        before, self.sofar = self.sofar, [*self.sofar, task]
        self.present = list(dict.fromkeys([*self.present, task.label]))
        ratio = self.config.replay_ratio
        feeds = [self.feed(task, 1.0), *(self.feed(other, ratio) for other in before if ratio)]
        learners = self.learners([task])
        earlier = tuple(name for other in before for name in other.adapters)
        more: dict[str, Any] = {} if task.full else {"distillation": self.config.distillation}
        if self.config.orthogonality and earlier and not task.full:
            more = {**more, "apart": earlier, "orthogonality": self.config.orthogonality}
        lane = plan.lane(task.name, learners, feeds, task.training, **more)
        return self.stage(f"{'finetune' if task.full else 'solo'} {task.name}", lane)

    def joint(self) -> Stage:
        """All tasks so far, on a share of the rows of each."""
        feeds = [self.feed(task, self.config.train_ratio) for task in self.sofar]
        lane = plan.lane("joint", self.learners(self.sofar), feeds, self.training())
        idle = [task.name for task in self.sofar if task.full and BASE_LEARNER not in lane.learners]
        note = f"{', '.join(idle)}: in the base, replayed through {self.replayed()}" if idle else ""
        return self.stage("joint", lane, note)

    def replayed(self) -> str:
        """What rows of tasks that live in the base pass through."""
        if self.config.composition == "own":
            return "the base, where nothing trains"
        return "the base with all adapters so far"

    def stage(self, name: str, lane: Lane, note: str = "") -> Stage:
        return Stage(name, (lane,), tuple(self.present), note)

    def feed(self, task: ResolvedTask, share: float) -> Feed:
        rows = plan.cut(self.rows[task.name], share)
        return Feed(task.name, self.composition(task), rows, task.task.weight)

    def composition(self, task: ResolvedTask) -> Composition:
        if self.config.composition == "own":
            return active.own(task, self.heads)
        return active.together(self.config, task, self.present, self.heads)

    def learners(self, tasks: list[ResolvedTask]) -> list[str]:
        """The adapters of the tasks; the base and heads where it is trained, unless it carries adapters by now."""
        found = [name for task in tasks for name in task.adapters]
        if found:
            return found
        return [BASE_LEARNER, *(task.name for task in tasks if self.heads)]

    def training(self) -> TrainingSettings:
        """What the top says, for as long as joint stages take."""
        epochs, steps = self.config.joint_epochs, self.config.joint_steps
        given = {"num_epochs": epochs, "steps": steps} if epochs or steps else {}
        return self.config.training.model_copy(update={key: one for key, one in given.items() if one or key == "steps"})
