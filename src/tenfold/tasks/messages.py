"""Rows of messages: a chat of any length, of which every answer of the assistant is learnt."""

from typing import Any

from tenfold.errors import ConfigError, DataError
from tenfold.tasks.examples import Columns, Example, Message
from tenfold.tasks.settings import TaskSettings

SHAREGPT = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "observation": "tool"}
ROLES = ("system", "developer", "user", "assistant", "tool")


def chat_example(index: int, row: Columns, settings: TaskSettings, where: str) -> Example:
    """The last answer is the response; what comes after it is left out."""
    if settings.prompt_style == "raw" or settings.prompt is not None or settings.response is not None:
        raise ConfigError(f"data_format: {where} holds messages, which go through the chat template alone")
    messages = check_messages(row.get("messages"), where)
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=None)
    if last is None:
        raise DataError(f"{where}: no message of the assistant, so there is nothing to learn")
    if settings.system and messages[0]["role"] != "system":
        messages, last = [{"role": "system", "content": settings.system}, *messages], last + 1
    prompt = tuple(messages[:last])
    content = "\n".join(message["content"] for message in prompt if message["role"] != "system")
    asked = next((message["content"] for message in reversed(prompt) if message["role"] == "user"), "")
    return Example(index, prompt, messages[last]["content"], row, None, content, asked=asked)


def as_messages(row: Columns, where: str) -> Columns:
    """A row of ShareGPT's layout, conversations of {from, value} and maybe a system text, with messages.

    Raises DataError for anything else.
    """
    given = row.get("conversations")
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise DataError(f"{where}: conversations are no list of {{from, value}}")
    turns = [{"role": SHAREGPT.get(one.get("from", ""), one.get("from")), "content": one.get("value")} for one in given]
    first = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return {**row, "messages": first + turns}


def check_messages(given: Any, where: str) -> list[Message]:
    """Messages as a list of {role, content}. Raises DataError for anything else."""
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: messages are no list of {{role, content}}")
    return [_message(one, f"{where}: message {number}") for number, one in enumerate(given, 1)]


def _message(given: Any, where: str) -> Message:
    if not isinstance(given, dict) or given.get("role") not in ROLES:
        raise DataError(f"{where}: the role is none of {', '.join(ROLES)}")
    content = given.get("content")
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)  # OpenAI's parts
    if not isinstance(content, str):
        raise DataError(f"{where}: the content is no text")
    return {"role": given["role"], "content": content}
