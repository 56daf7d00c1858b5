"""What the tasks of a run are told apart by: the text of their rows as a user would type it, without the template."""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.tasks import Task
from tenfold.tasks.examples import Example
from tenfold.tasks.prompts import Template, as_text
from tenfold.tasks.settings import TaskSettings

Lists = dict[str, list[str]]


def training_texts(tasks: Sequence[Task]) -> tuple[Lists, Lists]:
    """Training and validation texts of each task that has any to learn from.

    Validation rows that are evaluated on too stay out: what is measured on them must not have been fitted to them.
    """
    train = {task.name: texts(task.splits().get("train", [])) for task in tasks}
    held = {task.name: texts([] if task.validation_is_eval else task.validation) for task in tasks}
    return {name: own for name, own in train.items() if any(own)}, held


def texts(examples: Sequence[Example]) -> list[str]:
    """What users would type for these rows."""
    return [example.asked for example in examples]


def asked(given: str | Mapping[str, Any]) -> str:
    """What is looked at of a request: its text, or its columns, one below the other."""
    return given if isinstance(given, str) else "\n".join(filter(None, map(as_text, given.values())))


def wrapped(text: str, settings: TaskSettings) -> str:
    """A text inside a task's template: in its first column, with the others empty."""
    template = Template.parse(settings.prompt) if settings.prompt is not None else None
    if template is None or not template.columns:
        return text
    return template.fill({column: text if place == 0 else "" for place, column in enumerate(template.columns)})
