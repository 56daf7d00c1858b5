"""TensorBoard: event files in the run's ``tensorboard/``."""

import importlib
import json
from collections.abc import Mapping

from tenfold.trackers._base import Subject

PACKAGE = "tensorboard"


class Tracker:
    """One writer of event files."""

    def __init__(self, subject: Subject) -> None:
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self.writer = writer(str(subject.folder / "tensorboard"))
        text = json.dumps(subject.settings, indent=2, ensure_ascii=False)
        self.writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar for each value."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def summarise(self, values: Mapping[str, float]) -> None:
        """Scalars at step 0."""
        self.log(0, values)

    def finish(self) -> None:
        """Write what is left."""
        self.writer.close()
