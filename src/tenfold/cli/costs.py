"""What training on a config's rows takes: tokens, steps, time where a rate is known, memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tenfold import base, runs
from tenfold.base import Base, families
from tenfold.cli.stages import describe_memory
from tenfold.config import Config
from tenfold.progress import Progress
from tenfold.store import RunFolder
from tenfold.store.run import METRICS, PLAN
from tenfold.tasks.splits import SplitReport
from tenfold.tasks.tables import Grid
from tenfold.training import plan
from tenfold.training.plan import Lane, Stage

HEADERS = ("stage", "lane", "rows", "tokens", "supervised", "epochs", "steps", "tokens in all", "about")
Splits = Mapping[str, SplitReport]


@dataclass
class Planned(Base):
    """A base without weights, as it would stand on ``place``."""

    place: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def device(self) -> torch.device:
        """Where it would stand."""
        return self.place


@dataclass(frozen=True)
class Rate:
    """How fast rows are trained on: tokens or rows a second, and where that was measured."""

    tokens: float | None = None
    rows: float | None = None
    source: str = ""

    def seconds(self, tokens: float, rows: float) -> float:
        """About how long so many take."""
        if self.rows:
            return rows / self.rows
        return tokens / self.tokens if self.tokens else math.nan


def measured(folder: Path) -> Rate | None:
    """The rows a second that the run in this folder went through; None where it has not trained."""
    if not (folder / PLAN).is_file() or not (folder / METRICS).is_file():
        return None
    rows, seconds = dict[tuple[int, int], int](), dict[tuple[int, int], float]()
    for record in RunFolder(folder).metrics():
        if "seconds" in record:  # a step's time is that of all its lanes, which stand in lines of their own
            step = record["stage"], record["step"]
            rows[step] = rows.get(step, 0) + record["rows"]
            seconds[step] = max(seconds.get(step, 0.0), record["seconds"])
    total = sum(seconds.values())
    return Rate(rows=sum(rows.values()) / total, source=str(folder)) if total else None


def describe(
    config: Config, splits: Sequence[SplitReport], rate: Rate | None, progress: Progress
) -> tuple[Grid, list[str]]:
    """A line for each lane, and sentences about time and memory. Nothing of the base but its shapes is loaded."""
    train = {one.task: one for one in splits if one.split == "train"}
    counts = {name: one.rows * config.task(name).task.repeat for name, one in train.items()}
    planned = _plan_base(config, progress)
    stages = plan.make(config, {name: counts.get(name, 0) for name in config.tasks}, heads=bool(planned.heads))
    rows = [_row(stage, lane, train, rate) for stage in stages for lane in stage.lanes]
    lengths = {name: train[name].lengths if name in train else [] for name in config.tasks}
    floats = " (the base in floats)" if config.base_quantization else ""
    notes = [
        f"memory of stage {stage.number}{floats}: {describe_memory(stage, config, planned, lengths)}"
        for stage in stages
        if stage.lanes
    ]
    return Grid(HEADERS, rows), [_said(rate, sum(_tokens(lane, train) for s in stages for lane in s.lanes)), *notes]


def _plan_base(config: Config, progress: Progress) -> Base:
    family = runs.family(config)
    model = base.skeleton(config.base_model, family=family, progress=progress)
    device, dtype = runs.choose_device(config.device, config.dtype)
    found = families.find(config.base_model, model.config, family)
    heads = families.heads(model, ()) if found == "classification" else ()
    coding = base.load_coding(config.base_model, family=family, progress=progress)
    return Planned(
        model.to(dtype), coding.tokenizer, config.base_model, "", family=found, heads=heads, place=torch.device(device)
    )


def _row(stage: Stage, lane: Lane, train: Splits, rate: Rate | None) -> tuple[str, ...]:
    epoch = sum(feed.rows * _mean(train[feed.task].lengths) for feed in lane.feeds)
    supervised = sum(feed.rows * train[feed.task].supervised / train[feed.task].rows for feed in lane.feeds)
    seconds = rate.seconds(_tokens(lane, train), _rows(lane)) if rate else math.nan
    return (
        stage.name, lane.name, f"{lane.rows:,}", f"{epoch:,.0f}", f"{supervised:,.0f}",
        f"{_rows(lane) / lane.rows:.3g}", f"{lane.steps:,}", f"{_tokens(lane, train):,.0f}", _time(seconds),
    )  # fmt: skip


def _rows(lane: Lane) -> float:
    """Rows that are seen in all; the last step of an epoch has those that are left."""
    return lane.steps * lane.rows / math.ceil(lane.rows / lane.batch)


def _tokens(lane: Lane, train: Splits) -> float:
    epoch = sum(feed.rows * _mean(train[feed.task].lengths) for feed in lane.feeds)
    return epoch * _rows(lane) / lane.rows


def _said(rate: Rate | None, tokens: float) -> str:
    if rate is None:
        return "time: train once, or give --tokens-per-second, and it is estimated"
    if rate.rows:
        return f"time: at the {rate.rows:,.1f} rows a second that {rate.source} went through"
    return f"time: about {_time(tokens / (rate.tokens or math.nan))} at {rate.tokens:,.0f} tokens a second"


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / len(lengths)


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return ""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
