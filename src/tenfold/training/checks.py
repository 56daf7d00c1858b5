"""What stages ask of rows and base, looked at before anything trains."""

from collections.abc import Mapping, Sequence

from tenfold import runs
from tenfold.adapters import Bank
from tenfold.base import Base
from tenfold.base.layout import Row
from tenfold.config import Config
from tenfold.errors import AdapterError, ConfigError, DataError, RunError
from tenfold.training.checkpoints import Checkpoint
from tenfold.training.plan import Feed, Stage


def _feeds(stages: Sequence[Stage]) -> list[Feed]:
    return [feed for stage in stages for lane in stage.lanes for feed in lane.feeds]


def require_rows(stages: Sequence[Stage], rows: Mapping[str, list[Row]]) -> None:
    """Something trains, and on rows. Raises ConfigError and DataError."""
    if not any(stage.lanes for stage in stages):
        raise ConfigError("tasks: none of them trains anything; set train: true in one, or use `tenfold evaluate`")
    for feed in _feeds(stages):
        if not rows[feed.task]:
            raise DataError(f"tasks.{feed.task}: no training rows")


def require_heads(config: Config, stages: Sequence[Stage], bank: Bank) -> None:
    """Rows of a base for classification pass through a head with their task's classes. Raises AdapterError."""
    for feed in _feeds(stages):
        classes = len(config.task(feed.task).task.classes)
        if not runs.answers(bank, feed.composition, classes):
            told = f"nothing that is active on its rows has a head with {classes} classes, nor has the base"
            raise AdapterError(f"tasks.{feed.task}: {told}")


def require_prompts(config: Config, base: Base) -> None:
    """A base that is held to on prompts says something about them. Raises ConfigError."""
    if config.distillation and base.family != "causal":
        raise ConfigError(
            f"distillation: {config.distillation:g} given, but {base.name} says nothing about prompts; causal models do"
        )


def require_base(found: Checkpoint | None, stages: Sequence[Stage], base: Base) -> None:
    """The run's own base is the one that a checkpoint of adapters on it was made on. Raises RunError."""
    if found and found.base and not stages[found.stage].trains_base and found.base != base.fingerprint:
        raise RunError(f"{found.path}: cannot go on: {base.name} is not the base that it was trained on")
