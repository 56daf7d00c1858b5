"""What one server takes on, and no more."""

from dataclasses import dataclass, fields

from tenfold.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """Of requests: bytes of the body, tokens of a prompt and of an answer, answers (n times prompts), how many may
    wait, seconds from arrival to the last token. Of loaded adapters: bytes of the file, rank, how many.

    drain_seconds: how long requests under way may go on once the server is told to stop.
    Raises ConfigError for a number below 1.
    """

    body_bytes: int = 1 << 20
    prompt_tokens: int = 32768
    new_tokens: int = 4096
    answers: int = 16
    waiting: int = 1024
    seconds: float = 300.0
    drain_seconds: float = 60.0
    adapter_bytes: int = 1 << 30
    adapter_rank: int = 256
    adapters: int = 1024

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value < (0 if one.name.endswith("seconds") else 1):
                raise ConfigError(f"{one.name}: {value} is not allowed; it must be 1 or more")
