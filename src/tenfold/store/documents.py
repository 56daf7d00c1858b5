"""JSON files: read with limits and one clear line, written whole."""

from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from tenfold.errors import TenfoldError
from tenfold.store import atomic

LIMIT = 64 << 20
"""Bytes; far above every document that tenfold writes."""


def read(path: Path, error: type[TenfoldError]) -> Any:
    """The value in a JSON file. Raises the given error for one that is missing, torn, too large or too deep."""
    try:
        if path.stat().st_size > LIMIT:
            raise error(f"{path} is larger than {LIMIT >> 20} MiB, so it cannot be what it should be")
        return from_json(path.read_bytes(), allow_inf_nan=False)
    except OSError as failure:
        raise error(f"cannot read {path}: {failure.strerror or failure}") from None
    except ValueError as failure:
        if isinstance(failure, TenfoldError):
            raise
        raise error(f"{path} is not valid JSON: {failure}") from None


def read_object(path: Path, error: type[TenfoldError]) -> dict[str, Any]:
    """The same for a file that must hold a JSON object."""
    value = read(path, error)
    if not isinstance(value, dict):
        raise error(f"{path} must hold a JSON object, not {type(value).__name__}")
    return value


def text(value: Any, indent: int | None = 2) -> bytes:
    """A value as JSON with a line end; infinities and NaN, which JSON does not have, as null."""
    return to_json(value, indent=indent, inf_nan_mode="null") + b"\n"


def write(path: Path, value: Any) -> None:
    """Write a value as a whole JSON file."""
    atomic.write(path, text(value))
