"""Answers as OpenAI's clients read them: chat and plain completions, whole or in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from tenfold.errors import DataError
from tenfold.generate import TokenLogprob
from tenfold.serve import asking
from tenfold.serve.http.schemas import ChatBody, CompletionBody
from tenfold.serve.skills import Skill
from tenfold.tasks.examples import Prompt

FINISH = {"eos": "stop", "stop": "stop", "length": "length"}


@dataclass(frozen=True)
class Part:
    """Some of an answer, or all of it. offset: characters of the answer before it. finish: why it ended, if it did."""

    text: str
    logprobs: Sequence[TokenLogprob] | None = None
    finish: str | None = None
    offset: int = 0


class Shape(Protocol):
    """One of OpenAI's two. name, piece: what the objects are called; prefix: of their ids."""

    name: str
    piece: str
    prefix: str

    def whole(self, index: int, part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """One choice with its whole answer."""

    def chunk(self, index: int, part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """One choice with some more of its answer."""

    def opening(self, index: int) -> dict[str, Any] | None:
        """What a stream begins with."""


class Chat:
    """``/v1/chat/completions``."""

    name, piece, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl-"

    def whole(self, index: int, part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """See Shape."""
        message = {"role": "assistant", "content": part.text, "refusal": None}
        return self._choice(index, "message", message, part, tokenizer)

    def chunk(self, index: int, part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """See Shape."""
        return self._choice(index, "delta", {"content": part.text} if part.text else {}, part, tokenizer)

    def opening(self, index: int) -> dict[str, Any] | None:
        """See Shape."""
        delta = {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def _choice(
        self, index: int, key: str, said: dict[str, Any], part: Part, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Any]:
        told = None if part.logprobs is None else {"content": [_entry(one, tokenizer) for one in part.logprobs]}
        return {"index": index, key: said, "logprobs": told, "finish_reason": part.finish}


class Text:
    """``/v1/completions``."""

    name, piece, prefix = "text_completion", "text_completion", "cmpl-"

    def whole(self, index: int, part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """See Shape."""
        told = None if part.logprobs is None else _columns(part, tokenizer)
        return {"index": index, "text": part.text, "logprobs": told, "finish_reason": part.finish}

    def chunk(self, index: int, part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """See Shape."""
        return self.whole(index, part, tokenizer)

    def opening(self, index: int) -> dict[str, Any] | None:
        """See Shape."""
        return None


def asked(body: ChatBody | CompletionBody) -> str:
    """The one text that the router looks at. Raises DataError where there is none, or several."""
    if body.columns is not None:
        return "\n".join(body.columns.values())
    if isinstance(body, ChatBody):
        return asking.said([one.model_dump() for one in body.messages])
    if len(body.prompts) != 1 or not isinstance(body.prompts[0], str):
        raise DataError("prompt: the router takes one text at a time")
    return body.prompts[0]


def prompts(body: ChatBody | CompletionBody, skill: Skill) -> list[Prompt | list[int]]:
    """What is to be answered, as the skill takes it; a plain completion's text stands as it is."""
    if body.columns is not None:
        return [asking.of_columns(body.columns, skill)]
    if isinstance(body, ChatBody):
        return [asking.of_messages([one.model_dump() for one in body.messages], skill)]
    return [*body.prompts]


def _word(token: int, tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.decode([token], clean_up_tokenization_spaces=False))


def _entry(told: TokenLogprob, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    best = [_token(token, logprob, tokenizer) for token, logprob in told.best]
    return {**_token(told.token, told.logprob, tokenizer), "top_logprobs": best}


def _token(token: int, logprob: float, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """bytes: None where the token is only part of a character."""
    word = _word(token, tokenizer)
    return {"token": word, "logprob": logprob, "bytes": None if "\ufffd" in word else list(word.encode())}


def _columns(part: Part, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    words = [_word(one.token, tokenizer) for one in part.logprobs or ()]
    offsets, at = [], part.offset
    for word in words:
        offsets.append(at)
        at += len(word)
    return {
        "tokens": words,
        "token_logprobs": [one.logprob for one in part.logprobs or ()],
        "top_logprobs": [{_word(t, tokenizer): p for t, p in one.best} for one in part.logprobs or ()],
        "text_offset": offsets,
    }
