"""What a run works on: the rows of its tasks, as tokens, and the base."""

from collections.abc import Sequence
from dataclasses import dataclass

from tenfold import runs
from tenfold.base import Base
from tenfold.base.layout import Row
from tenfold.config import Config
from tenfold.errors import DataError
from tenfold.generate.request import require_room
from tenfold.progress import Progress
from tenfold.tasks import Task, encode_all
from tenfold.tasks.examples import Example

Rows = dict[str, list[Row]]


@dataclass
class Loaded:
    """What runs of one config with several seeds share. base: None once a run has trained it."""

    tasks: list[Task]
    base: Base | None
    rows: Rows
    validation: Rows


def load(config: Config, place: str, progress: Progress, base: Base | None = None) -> Loaded:
    """Rows and base of a config, nothing of which depends on the seed.

    place: where the base is. base: the one that is there, where it is open already.
    """
    tasks = runs.load_tasks(config)
    base = base or runs.load_base(config, place, progress)
    with config.locating():
        return Loaded(tasks, base, *_encode(tasks, base, progress))


def _encode(tasks: Sequence[Task], base: Base, progress: Progress) -> tuple[Rows, Rows]:
    """Training and validation rows of each task, as tokens."""
    train = {task.name: _tokens(task, "train", task.train, base, progress) for task in tasks}
    return train, {task.name: _tokens(task, "validation", task.validation, base, progress) for task in tasks}


def _tokens(task: Task, split: str, examples: Sequence[Example], base: Base, progress: Progress) -> list[Row]:
    try:
        rows = [one.row for one in encode_all(examples, base.coding, task.settings, progress)]
        for number, row in enumerate(rows, 1):
            require_room(base, f"row {number}", max(len(row.tokens), len(row.source)), 0)
    except DataError as error:
        raise DataError(f"tasks.{task.name}: {split}: {error}") from None
    return rows
