"""What every tracker is: a file in this folder that exports ``PACKAGE`` and ``Tracker``."""

import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tenfold.config import Config


@dataclass(frozen=True)
class Subject:
    """What is tracked.

    name: of the run. group: of the runs of several seeds, None for one alone. settings: the config as plain values,
    without secrets. config: the same, checked. folder: the run's.
    """

    name: str
    group: str | None
    settings: dict[str, Any]
    config: Config
    folder: pathlib.Path


class Tracker(Protocol):
    """One tracker of one run. Whatever it raises, it is left alone from then on."""

    def __init__(self, subject: Subject) -> None: ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Values after an optimizer step of the run; several calls may have the same step."""

    def summarise(self, values: Mapping[str, float]) -> None:
        """What holds at the end; everything that the run writes but its report is there."""

    def finish(self) -> None:
        """Nothing more comes."""
