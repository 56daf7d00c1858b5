"""A task's rows: read, made into examples, cut into splits."""

import pathlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tenfold.errors import DataError, TenfoldError
from tenfold.tasks.examples import Example
from tenfold.tasks.formats import build
from tenfold.tasks.settings import SourceSettings, TaskSettings
from tenfold.tasks.sources import describe, read


@dataclass
class Task:
    """A task with the examples of every split.

    train: in the file's order, ``repeat`` times over.
    eval_sets: by name; "eval" is the set of eval_path, or the validation rows where there is no other.
    notes: what the user should know about the splits, one sentence each.
    """

    name: str
    settings: TaskSettings
    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    eval_sets: dict[str, list[Example]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    validation_is_eval: bool = False

    def splits(self) -> dict[str, list[Example]]:
        """Every split by name, each row once: no repeats, no evaluation set that is the validation split."""
        once = self.train[: len(self.train) // self.settings.repeat]
        found = {"train": once, "validation": self.validation}
        found |= {} if self.validation_is_eval else self.eval_sets
        return {name: rows for name, rows in found.items() if rows}


def load(name: str, settings: TaskSettings, folder: pathlib.Path) -> Task:
    """Read a task's sources. folder: where relative paths start, the config's.

    Raises ConfigError or DataError whose message begins with the dotted key, e.g. tasks.mnli.eval_path.
    """
    task = Task(name, settings)
    with _named(f"tasks.{name}"):
        others = {key: _examples(key, source, settings, folder) for key, source in settings.others().items()}
        rows = _train(settings, folder)
        task.validation = others.pop("validation_path", [])
        if settings.val_set_size and rows:
            rows, task.validation = _cut(rows, settings)
    task.train = (
        [replace(one, index=one.index + turn * len(rows)) for turn in range(settings.repeat) for one in rows]
        if settings.repeat > 1
        else rows
    )
    task.eval_sets = {"eval" if key == "eval_path" else key.partition(".")[2]: found for key, found in others.items()}
    _settle_evaluation(task)
    return task


def _train(settings: TaskSettings, folder: pathlib.Path) -> list[Example]:
    if not settings.train and not (settings.path or settings.dataset_name):
        return []
    return _examples("path" if not settings.dataset_name else "dataset_name", None, settings, folder)


def _examples(key: str, other: SourceSettings | None, settings: TaskSettings, folder: pathlib.Path) -> list[Example]:
    source = settings.source(other)
    if key.startswith("eval") and source.max_rows is None:
        source = source.model_copy(update={"max_rows": settings.eval_max_rows})
    with _named(key):
        rows = read(source, folder)
    examples = build(rows, settings, describe(source))
    if not any(example.response or example.tokens for example in examples):
        raise DataError(f"response: empty in every row of {describe(source)}: there is nothing to learn")
    return examples


def _cut(rows: list[Example], settings: TaskSettings) -> tuple[list[Example], list[Example]]:
    """Train and validation rows: a sample drawn with the seed, both in the file's order."""
    size = settings.val_set_size or 0
    count = max(1, round(size * len(rows))) if size < 1 else int(size)
    if count >= len(rows):
        raise DataError(f"val_set_size: {size:g} of {len(rows)} rows leaves none for training")
    chosen = set(random.Random(settings.seed or 0).sample(range(len(rows)), count))
    kept = [one for place, one in enumerate(rows) if place not in chosen]
    return kept, [one for place, one in enumerate(rows) if place in chosen]


def _settle_evaluation(task: Task) -> None:
    if task.eval_sets:
        return
    if task.validation:
        task.eval_sets = {"eval": task.validation[: task.settings.eval_max_rows]}
        task.validation_is_eval = True
        task.notes.append("no eval_path: the validation rows are the evaluation set too")
    else:
        task.notes.append("no eval_path and no validation rows: there is nothing to evaluate on")


@contextmanager
def _named(key: str) -> Iterator[None]:
    """Errors from inside begin with the dotted key."""
    try:
        yield
    except TenfoldError as error:
        text = str(error)
        inner = text.partition(":")[0].partition(".")[0] in TaskSettings.model_fields
        raise type(error)(f"{key}{'.' if inner else ': '}{text}") from None
