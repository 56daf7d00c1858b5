"""tenfold's side of a comparison: a config's first stage, ready for its first step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold import runs
from tenfold.adapters import Bank
from tenfold.base import Base
from tenfold.base.layout import Row
from tenfold.base.probe import settle
from tenfold.config import Config
from tenfold.tasks import encode_all
from tenfold.training import loop, plan
from tenfold.training.loop import State
from tenfold.training.plan import Lane


def encode(config: Config, base: Base) -> dict[str, list[Row]]:
    """The training rows of every task."""
    return {
        task.name: [one.row for one in encode_all(task.train, base.coding, task.settings)]
        for task in runs.load_tasks(config)
    }


def begin(config: Config, bank: Bank, rows: Mapping[str, list[Row]], *, mixed: bool = False) -> State:
    """The stage of a config, its adapters added where they are not in the bank yet."""
    for name, task in config.owners.items():
        if name not in bank.adapters:
            bank.add(name, task.adapters[name].kind, task.adapters[name].settings, seed=config.seed)
    settle(bank.base)
    stage = plan.make(config, {name: len(own) for name, own in rows.items()})[0]
    return loop.begin(bank, stage, rows, seed=config.seed, mixed=mixed)


def share(config: Config, bank: Bank, own: Mapping[str, list[Row]], steps: int, *, mixed: bool) -> State:
    """A stage in which adapters of the bank train on rows of their own; each of its steps takes all of them."""
    several = Config.parse(
        {
            "base_model": config.base_model,
            "optimizer": "adamw_torch_fused",
            "lr_scheduler": "constant",
            "warmup_ratio": 0.0,
            "steps": steps,
            "tasks": {name: {"path": "rows.jsonl", "micro_batch_size": len(rows)} for name, rows in own.items()},
        },
        require_files=False,
    )
    return begin(several, bank, own, mixed=mixed)


def focus(state: State) -> None:
    """The adapters of this stage train, the others don't."""
    training = {learner.name for learner in state.learners}
    for name in state.bank.adapters:
        for parameter in state.bank.parameters(name).values():
            parameter.requires_grad_(name in training)


@dataclass
class Log:
    """Hooks that only keep what each step said of itself."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def log(self, lane: Lane, record: dict[str, Any]) -> None:
        """A lane has made a step."""
        self.records.append(record)

    def after(self, done: int, state: State) -> bool:
        """Never ends the training."""
        return False


def step(state: State, log: Log) -> dict[str, float]:
    """One optimizer step -> its loss by lane."""
    losses = loop.step(state, log)
    state.done += 1
    return losses


def batch(state: State, number: int) -> list[Row]:
    """The rows of optimizer step ``number`` of a stage with one lane, in the order in which they are run."""
    return [row for micro in state.batches[0].step(number) for own in micro.feeds.values() for row in own]
