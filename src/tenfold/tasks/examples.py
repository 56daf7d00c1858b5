"""What a row becomes before it is tokenised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.tasks.settings import TaskSettings

Message = dict[str, str]
Prompt = str | tuple[Message, ...]
Columns = Mapping[str, Any]


IGNORED = -100
"""The label of a token that does not count, as transformers has it."""


@dataclass(frozen=True)
class Tokens:
    """A row that is tokens already.

    ids: what the model reads. labels: of a model with an encoder what its decoder says, else one a token of ids, itself
    or ``IGNORED``; None is all of them. label: the class, for classification.
    """

    ids: Sequence[int]
    labels: Sequence[int] | None = None
    label: int | None = None


@dataclass(frozen=True)
class Example:
    """One row, ready to be tokenised.

    index: its number, from 0; a repeat of a row has a number of its own.
    prompt: raw text, or the messages before the response, which go through the chat template.
    response: what the model is to say next.
    columns: the row as it was read.
    label: the text of its label, where the task has labels.
    content: what the prompt takes from the row, without the template around it.
    tokens: of a row that is tokens already; prompt and response are empty then, but for a class's name.
    asked: what a user would type: the same, or of a chat its last turn of the user; never anything of the response.
    """

    index: int
    prompt: Prompt
    response: str
    columns: Columns
    label: str | None = None
    content: str = ""
    tokens: Tokens | None = None
    asked: str = ""


def make_prompt(text: str, settings: TaskSettings) -> Prompt:
    """A prompt's text as the task's prompt: itself where it is raw, else the user's message."""
    if settings.prompt_style == "raw":
        return text
    system = ({"role": "system", "content": settings.system},) if settings.system else ()
    return (*system, {"role": "user", "content": text})
