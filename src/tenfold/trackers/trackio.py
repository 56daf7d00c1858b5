"""trackio: a local database, in ``TRACKIO_DIR``, that ``trackio show`` draws; ``TRACKIO_SPACE_ID`` sends it on."""

import contextlib
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from tenfold.trackers._base import Subject

PACKAGE = "trackio"


class Tracker:
    """One run of trackio."""

    def __init__(self, subject: Subject) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self.run: Any = importlib.import_module(PACKAGE).init(
                project=subject.config.wandb_project or "tenfold", name=subject.name, group=subject.group,
                config=subject.settings, embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        self.last = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One line."""
        self.last = max(self.last, step)
        self.run.log(dict(values), step=step)

    def summarise(self, values: Mapping[str, float]) -> None:
        """A line after the last step; trackio has no summary."""
        self.run.log(dict(values), step=self.last + 1)

    def finish(self) -> None:
        """Write what is left."""
        with contextlib.redirect_stdout(sys.stderr):
            self.run.finish()
