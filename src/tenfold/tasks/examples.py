"""What a row becomes before it is tokenised."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.tasks.settings import TaskSettings

Message = dict[str, str]
Prompt = str | tuple[Message, ...]
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """One row, ready to be tokenised.

    index: its number, from 0; a repeat of a row has a number of its own.
    prompt: raw text, or the messages before the response, which go through the chat template.
    response: what the model is to say next.
    columns: the row as it was read.
    label: the text of its label, where the task has labels.
    content: what the prompt takes from the row, without the template around it.
    asked: what a user would type: the same, or of a chat its last turn of the user; never anything of the response.
    """

    index: int
    prompt: Prompt
    response: str
    columns: Columns
    label: str | None = None
    content: str = ""
    asked: str = ""


def make_prompt(text: str, settings: TaskSettings) -> Prompt:
    """A prompt's text as the task's prompt: itself where it is raw, else the user's message."""
    if settings.prompt_style == "raw":
        return text
    system = ({"role": "system", "content": settings.system},) if settings.system else ()
    return (*system, {"role": "user", "content": text})
