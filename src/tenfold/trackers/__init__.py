"""Where a run's numbers are sent while it trains: one file for each tracker, any number at once.

transformers' and Accelerate's trackers are not used: they log one training of one model, know no summary, and bring a
process group's state with them; what is left of them is the call of the same three functions as here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from tenfold import plugins
from tenfold.config import Config
from tenfold.evaluate import Result
from tenfold.progress import SILENT, Progress
from tenfold.store import RunFolder
from tenfold.store.run import SEED
from tenfold.trackers._base import Subject, Tracker

SECRET = re.compile(r"(?:^|_)(?:key|token|secret|password|credentials?)$", re.IGNORECASE)
SIGNED_IN = re.compile(r"(\w+://)[^/@\s]+@")
LOGGED = {
    "loss": "train/loss", "validation_loss": "eval/loss", "learning_rate": "lr", "grad_norm": "train/grad_norm",
    "tokens_per_second": "train/tokens_per_second", "epoch": "train/epoch",
    "orthogonality": "train/orthogonality", "distillation": "train/distillation",
}  # fmt: skip
"""Of a line of ``metrics.jsonl``, and what trackers call it; with several tasks behind ``NAME/``."""


class Tracking:
    """The trackers of one run. One that fails is named in one line and left alone; the run goes on."""

    def __init__(
        self, trackers: Mapping[str, Tracker], progress: Progress, alone: bool, seen: Sequence[Any] = ()
    ) -> None:
        self.trackers, self.progress, self.alone = dict(trackers), progress, alone
        self.stage, self.passed, self.last = 0, 0, 0
        for line in seen:  # of a run that goes on
            self._count(line)

    def log(self, line: Mapping[str, Any]) -> None:
        """One line of ``metrics.jsonl``. Steps are counted through all stages."""
        step = self._count(line)
        prefix = "" if self.alone else f"{line['adapter']}/"
        values = {prefix + name: float(line[key]) for key, name in LOGGED.items() if line.get(key) is not None}
        self._each(lambda tracker: tracker.log(step, values))

    def conclude(self, results: Sequence[Result]) -> None:
        """The final results, one value for each task, split, adapter and metric."""
        values = {f"final/{one.task}/{one.split}/{one.adapter}/{one.metric}": one.value for one in results}
        if values:
            self._each(lambda tracker: tracker.summarise(values))

    def finish(self) -> None:
        """Nothing more comes."""
        self._each(lambda tracker: tracker.finish())

    def _count(self, line: Mapping[str, Any]) -> int:
        if line["stage"] != self.stage:
            self.stage, self.passed = line["stage"], self.last
        step = self.passed + int(line["step"])
        self.last = max(self.last, step)
        return step

    def _each(self, call: Callable[[Tracker], object]) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                call(tracker)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the tracker's and not the run's
                del self.trackers[name]
                self.progress.note(_failed(name, error))


NOTHING = Tracking({}, SILENT, True)
"""For runs that are not tracked."""


def require(config: Config) -> None:
    """Raises MissingExtraError for a tracker whose package is not installed."""
    for name in config.trackers:
        plugins.optional(_find(name).PACKAGE, name, f"report_to: {name} needs")


@contextmanager
def begin(config: Config, folder: RunFolder, progress: Progress = SILENT) -> Iterator[Tracking]:
    """The trackers that the config asks for, while the block runs."""
    found: dict[str, Tracker] = {}
    place = folder.path.resolve()
    group = place.parent.name if SEED.fullmatch(place.name) else None
    name = config.wandb_name or place.name
    subject = Subject(f"{group}-{name}" if group else name, group, plain(config), config, place)
    for one in config.trackers:
        try:
            found[one] = _find(one).Tracker(subject)
        except Exception as error:  # noqa: BLE001 - as above
            progress.note(_failed(one, error))
    tracking = Tracking(found, progress, len(config.tasks) == 1, folder.metrics() if found else ())
    try:
        yield tracking
    finally:
        tracking.finish()


def plain(config: Config) -> dict[str, Any]:
    """The config as plain values, without what a key's name says is secret, and without who signs in at an address."""
    kept = _without_secrets(yaml.safe_load(config.dump()))
    assert isinstance(kept, dict), type(kept)
    return kept


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(own) for key, own in value.items() if not SECRET.search(str(key))}
    if isinstance(value, list):
        return [_without_secrets(own) for own in value]
    return SIGNED_IN.sub(r"\1", value) if isinstance(value, str) else value


def _find(name: str) -> Any:
    return plugins.find(__name__, name, ("PACKAGE", "Tracker"))


def _failed(name: str, error: Exception) -> str:
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{name} failed and is left alone, the run goes on: {told}"
