"""What the kinds share: which split a thing belongs to, and the optional packages."""

import zlib
from typing import Any

from tenfold import plugins
from tenfold.errors import DataError

SPLITS = ("train", "validation", "test")


def split_of(thing: str) -> str:
    """Eight tenths of all things are train, one validation, one test; a thing never changes its split."""
    place = zlib.crc32(thing.encode()) % 10
    return {8: "validation", 9: "test"}.get(place, "train")


def check_rows(kind: str, split: str, wanted: int, there: int) -> None:
    """Raises DataError where more rows are wanted than there are."""
    if wanted > there:
        raise DataError(f"synthetic:{kind}: {wanted} rows of {split} are wanted, there are {there}")


def load_extra(kind: str, module: str) -> Any:
    """An optional package. Raises MissingExtraError with the command that installs it."""
    return plugins.optional(module, "demo", f"synthetic:{kind} needs")
