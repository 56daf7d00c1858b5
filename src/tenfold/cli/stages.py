"""What ``tenfold train --dry-run`` prints: the stages, with what each lane trains and needs."""

from rich.console import Console

from tenfold import base, plugins, runs
from tenfold.adapters.targets import match
from tenfold.base import Base
from tenfold.cli.report import make_table
from tenfold.config import Config
from tenfold.config.keys import KINDS
from tenfold.progress import Progress
from tenfold.training import plan
from tenfold.training.plan import BASE_LEARNER, Lane, Stage

HEADERS = ("lane", "trains", "active", "rows", "batch", "steps", "learning rate", "parameters")


def show_plan(config: Config, console: Console, progress: Progress) -> None:
    """Read the rows, load the base, and print the stages."""
    rows = {task.name: len(task.train) for task in runs.load_tasks(config)}
    model = base.load(config.base_model, progress=progress)
    for number, stage in enumerate(plan.make(config, rows)):
        console.print(f"stage {number}: {stage.name}, {stage.steps:,} steps", highlight=False)
        console.print(make_table(HEADERS, _lanes(stage, config, model), left=(0, 1, 2)))


def _lanes(stage: Stage, config: Config, model: Base) -> list[tuple[str, ...]]:
    return [
        (
            lane.name, ", ".join(lane.learners), _active(lane), f"{lane.rows:,}", f"{lane.batch:,}",
            f"{lane.steps:,}", f"{lane.training.learning_rate:g} {lane.training.lr_scheduler}",
            f"{sum(trainable(name, config, model) for name in lane.learners):,}",
        )
        for lane in stage.lanes
    ]  # fmt: skip


def _active(lane: Lane) -> str:
    parts = [f"{name} x {weight:g}" if weight != 1 else name for f in lane.feeds for name, weight in f.composition]
    return " + ".join(dict.fromkeys(parts)) or "the base alone"


def trainable(learner: str, config: Config, model: Base) -> int:
    """Trainable parameters of a learner, without building it. Raises AdapterError for a target not there."""
    if learner == BASE_LEARNER:
        return sum(parameter.numel() for parameter in model.model.parameters())
    task = config.task(learner)
    kind = plugins.find(KINDS, task.adapter_kind)
    return sum(kind.size(task.adapter, layer) for layer in match(model.model, kind.targets(task.adapter)))
