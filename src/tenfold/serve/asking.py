"""What is asked, as tokens: the same as in training and in ``tenfold generate``."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.adapters import Composition
from tenfold.base import Base
from tenfold.base.chat import end_of_turn
from tenfold.base.model import Coding
from tenfold.errors import DataError
from tenfold.generate import Request, Sampling
from tenfold.runs import MOST_NEW_TOKENS, make_request
from tenfold.serve.skills import Skill
from tenfold.tasks import prompt_tokens
from tenfold.tasks.examples import Message, Prompt
from tenfold.tasks.messages import check_messages
from tenfold.tasks.settings import TaskSettings


@dataclass(frozen=True)
class Wanted:
    """What a body asks for beside its prompts. new_tokens, stops: None where the task says.

    sampling: of each answer. told: log-probabilities beside each token's own; json: as ``generate.Request`` has it.
    """

    sampling: Sequence[Sampling]
    new_tokens: int | None = None
    stops: tuple[str, ...] | None = None
    told: int | None = None
    json: bool | dict[str, object] = False


def coding(base: Base) -> Coding:
    """The base's tokenizer, apart from the one that the engine's thread decodes with."""
    own = base.coding
    return Coding(copy.deepcopy(own.tokenizer), own.family, own.start)


def of_messages(messages: Sequence[Mapping[str, Any]], skill: Skill) -> Prompt:
    """One message of a user is what the task's template takes; a conversation goes through the chat template.

    Raises DataError for what is no list of messages, and for a conversation where the task takes one text.
    """
    checked = check_messages([dict(one) for one in messages], "messages")
    if len(checked) == 1 and checked[0]["role"] == "user":
        return of_text(checked[0]["content"], skill)
    if not skill.converses:
        raise DataError(f"messages: {skill.name!r} answers one text; give one message with the role user")
    return _conversation(checked, skill.settings)


def of_text(text: str, skill: Skill) -> Prompt:
    """A text as ``tenfold generate`` takes it. Raises DataError where the task's template has several columns."""
    if skill.settings.prompt is not None and len(skill.columns) > 1:
        raise DataError(f"{skill.name!r} takes several columns, not one text: give columns: {', '.join(skill.columns)}")
    return make_request(text, skill.settings)


def of_columns(columns: Mapping[str, str], skill: Skill) -> Prompt:
    """Named columns in the task's template. Raises DataError where it has none, or wants others."""
    if not skill.columns:
        raise DataError(f"columns: {skill.name!r} has no template; give messages or a prompt")
    return make_request(columns, skill.settings)


def encode(prompt: Prompt, known: Coding) -> list[int]:
    """The tokens of a prompt. Raises DataError for messages that the chat template refuses."""
    return prompt_tokens(prompt, known)


def request(
    prompt: Sequence[int],
    skill: Skill,
    composition: Composition,
    eos: frozenset[int],
    wanted: Wanted,
    sampling: Sampling,
) -> Request:
    """What the engine takes. composition: the skill's, by the names that its adapters have in the bank."""
    settings = skill.settings
    longest = wanted.new_tokens or settings.max_new_tokens or MOST_NEW_TOKENS
    stops = tuple(settings.stop) if wanted.stops is None else wanted.stops
    return Request(prompt, composition, longest, sampling, stops, eos, logprobs=wanted.told, json=wanted.json)


def ends(base: Base) -> frozenset[int]:
    """The tokens that end an answer."""
    return frozenset(end_of_turn(base.tokenizer, base.model))


def said(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the router looks at: the last thing that the user said."""
    checked = check_messages([dict(one) for one in messages], "messages")
    return next((one["content"] for one in reversed(checked) if one["role"] == "user"), checked[-1]["content"])


def _conversation(messages: list[Message], settings: TaskSettings) -> Prompt:
    given = messages[0]["role"] in ("system", "developer")
    system: list[Message] = [{"role": "system", "content": settings.system}] if settings.system and not given else []
    return (*system, *messages)
