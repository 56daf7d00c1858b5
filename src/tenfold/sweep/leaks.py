"""Whether what judges trials was kept apart from what they learn."""

from collections.abc import Sequence

from tenfold.config import Config
from tenfold.errors import ConfigError
from tenfold.progress import Progress
from tenfold.tasks import Task
from tenfold.tasks.overlaps import find_overlaps


def check(config: Config, tasks: Sequence[Task], strict: bool, progress: Progress) -> None:
    """Every task that trains has validation rows, and no row stands in two splits.

    strict: such a row is an error, unless its task allows it; else a line. Raises ConfigError.
    """
    for task in tasks:
        if task.settings.train and not task.validation:
            where = config.where("tasks", task.name)
            told = "no validation rows, by which a sweep judges; give val_set_size or validation_path"
            raise ConfigError(f"{where}: tasks.{task.name}: {told}")
    for found in find_overlaps(tasks):
        if config.task(found.task).task.allow_overlap:
            continue
        if strict:
            where = config.where("tasks", found.task)
            raise ConfigError(f"{where}: {found}; take them out, or give tasks.{found.task}.allow_overlap: true")
        progress.note(f"! {found}")
