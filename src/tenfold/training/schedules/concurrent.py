"""Side by side: one stage with a lane per task, each with its own adapters."""

from collections.abc import Mapping

from tenfold.config import Config, active
from tenfold.training import plan
from tenfold.training.plan import Feed, Stage
from tenfold.training.schedules import mixture


def stages(config: Config, rows: Mapping[str, int], heads: bool) -> list[Stage]:
    """One lane per task; with ``adapter: full`` one lane, the base on all tasks."""
    trained = active.trained(config)
    if any(task.full for task in trained):
        return [Stage("full", (mixture.whole(config, rows, heads),), tuple(task.label for task in trained))]
    lanes = [
        plan.lane(
            task.name,
            tuple(task.adapters),
            (Feed(task.name, task.composition, rows[task.name]),),
            task.training,
            distillation=config.distillation,
        )
        for task in trained
    ]
    present = dict.fromkeys([*active.start(config), *(task.label for task in trained)])
    return [Stage("concurrent", tuple(lanes), tuple(present))]
