"""Templates: text with ``{column}`` placeholders, filled in one pass, so that braces in data mean nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.errors import ConfigError

PIECE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")
BRACES = {"{{": "{", "}}": "}"}


def as_text(value: Any) -> str:
    """A column's value as text: null is '', true and false as in JSON, lists and objects are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


@dataclass(frozen=True)
class Placeholder:
    """The place of a column's value."""

    column: str


@dataclass(frozen=True)
class Template:
    """A parsed template: literal text and placeholders, in order."""

    pieces: tuple[str | Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """``{name}`` is a column, ``{{`` and ``}}`` are braces. Raises ConfigError for any other brace."""
        return cls(tuple(_piece(match, text) for match in PIECE.finditer(text)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, each once, in order."""
        return tuple(dict.fromkeys(p.column for p in self.pieces if isinstance(p, Placeholder)))

    def fill(self, row: Mapping[str, Any]) -> str:
        """The text for one row. Raises KeyError for a column that the row lacks."""
        return "".join(p if isinstance(p, str) else as_text(row[p.column]) for p in self.pieces)


def _piece(match: re.Match[str], text: str) -> str | Placeholder:
    piece = match.group()
    if piece in ("{", "}", "{}"):
        line = text.count("\n", 0, match.start()) + 1
        raise ConfigError(
            f"{piece!r} in line {line} of the template stands for nothing; write {{name}} for a column, "
            "{{ and }} for braces"
        )
    if piece in BRACES:
        return BRACES[piece]
    return Placeholder(piece[1:-1]) if piece.startswith("{") else piece
