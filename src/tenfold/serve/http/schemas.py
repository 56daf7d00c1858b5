"""The bodies of requests, as OpenAI's clients send them. What would change the answer and is not done is refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tenfold.generate import Sampling
from tenfold.generate.request import MOST_LOGPROBS

HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
            "prompt_cache_retention", "parallel_tool_calls", "prediction"}  # fmt: skip
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,), "presence_penalty": (0,), "repetition_penalty": (1,), "logit_bias": ({},),
    "tools": ([],), "tool_choice": ("none", "auto"), "functions": ([],), "function_call": ("none", "auto"),
    "modalities": (["text"],), "best_of": (1,), "echo": (False,), "suffix": ("",), "min_p": (0,),
}  # fmt: skip
"""Fields that are not offered, with the values that ask for nothing."""

Strings = Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=16)]


class Strict(BaseModel):
    """A field that is not known is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, given: Any) -> Any:
        """Without what says nothing: nulls, and what changes no answer."""
        if not isinstance(given, dict):
            return given
        kept = {key: value for key, value in given.items() if value is not None}
        for key in [key for key in kept if key in NEUTRAL and key not in cls.model_fields]:
            if kept.pop(key) not in NEUTRAL[key]:
                raise ValueError(f"{key} is not offered")
        return {key: value for key, value in kept.items() if key not in HARMLESS}


class StreamOptions(Strict):
    """include_usage: one more chunk with the counts. include_obfuscation: harmless."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Body(Strict):
    """What chat and plain completions have in common. columns: of the task's template, in place of text."""

    model: str = Field(min_length=1, max_length=400)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    n: int = Field(1, ge=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | Strings | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    columns: dict[str, str] | None = None

    @property
    def stops(self) -> tuple[str, ...] | None:
        """Texts that end an answer; None where the task says."""
        if self.stop is None:
            return None
        return tuple([self.stop] if isinstance(self.stop, str) else self.stop)

    def sampling(self, seed: int, number: int) -> Sampling:
        """How tokens of one of n answers are chosen; seed: for a request that gives none."""
        first = seed if self.seed is None else self.seed
        return Sampling(self.temperature, self.top_k, self.top_p, (first + number) % 2**63)

    @model_validator(mode="after")
    def _sensible(self) -> "Body":
        if self.stop == "":
            raise ValueError("stop: an empty text ends nothing")
        return self


class Message(Strict):
    """One message; content is text, or parts of text."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]]
    name: str | None = None


class ResponseFormat(Strict):
    """text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ResponseFormat":
        schema = (self.json_schema or {}).get("schema")
        if (self.type == "json_schema") != isinstance(schema, dict):
            raise ValueError("json_schema: {name, schema} goes with type json_schema")
        return self

    @property
    def wanted(self) -> bool | dict[str, Any]:
        """What ``generate.Request.json`` takes."""
        if self.type == "json_schema":
            return dict((self.json_schema or {})["schema"])
        return self.type == "json_object"


class ChatBody(Body):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = Field(default_factory=list, max_length=1000)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)
    response_format: ResponseFormat = ResponseFormat(type="text")

    @model_validator(mode="after")
    def _something_asked(self) -> "ChatBody":
        if bool(self.messages) == (self.columns is not None):
            raise ValueError("messages: give messages, or columns of the task's template")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: it goes with logprobs: true")
        return self

    @property
    def most(self) -> int | None:
        """Tokens of an answer at most; None where the task says."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def told(self) -> int | None:
        """How many log-probabilities to tell beside each token's own."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def json_wanted(self) -> bool | dict[str, Any]:
        """Whether the answer must be JSON, and which."""
        return self.response_format.wanted


class CompletionBody(Body):
    """``POST /v1/completions``: text as it stands, or tokens."""

    prompt: str | list[str] | list[int] | list[list[int]] | None = None
    logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)

    @model_validator(mode="after")
    def _something_asked(self) -> "CompletionBody":
        if (self.prompt in (None, [])) == (self.columns is None):
            raise ValueError("prompt: give a prompt, or columns of the task's template")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt on its own."""
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if given and isinstance(given[0], int):
            return [[token for token in given if isinstance(token, int)]]
        return [one for one in given or [] if not isinstance(one, int)]

    @property
    def most(self) -> int | None:
        """Tokens of an answer at most; None where the task says."""
        return self.max_tokens

    @property
    def told(self) -> int | None:
        """How many log-probabilities to tell beside each token's own."""
        return self.logprobs

    @property
    def json_wanted(self) -> bool | dict[str, Any]:
        """Plain completions are free text."""
        return False
