"""A run under way: what is written to its folder, in which order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold import base, evaluate, runs, store
from tenfold.adapters import Bank
from tenfold.base.head import checkpointing
from tenfold.base.layout import Row
from tenfold.base.model import Way
from tenfold.base.probe import settle
from tenfold.config import Config
from tenfold.evaluate import CaseSet, Result
from tenfold.progress import Progress
from tenfold.store import RunFolder, card
from tenfold.tasks import Task
from tenfold.training import checkpoints, identity, loop
from tenfold.training.loop import State
from tenfold.training.plan import Stage
from tenfold.training.watch import Interrupt, Watch

PROMPT = {"prompt", "response", "system", "prompt_style", "labels", "options", "data_format",
          "max_new_tokens", "stop"}  # fmt: skip


@dataclass
class Job:
    """Everything that one run works with. rows, validation: of each task, as tokens."""

    config: Config
    folder: RunFolder
    bank: Bank
    tasks: list[Task]
    rows: dict[str, list[Row]]
    validation: dict[str, list[Row]]
    progress: Progress
    data: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.data = {name: identity.digest(rows) for name, rows in self.rows.items()}

    @property
    def full(self) -> bool:
        """Whether the base itself is trained."""
        return any(task.full for task in self.config.tasks.values())

    def measure_before(self) -> list[CaseSet]:
        """The untouched base on every task, where training will change it."""
        if not self.full:
            return []
        return runs.measure(self.bank, runs.measure_items(self.bank, self.tasks, {}), self.config, self.progress)

    def train(self, stages: list[Stage], resume: bool) -> bool:
        """Every stage in turn -> whether it was interrupted. What was trained is on disk afterwards."""
        planned = self.folder.read_json("plan.json") if resume else None
        found = checkpoints.find(self.folder) if resume else None
        interrupt = Interrupt()
        interrupted = False
        with interrupt.listening(), checkpointing(self.bank.base.model, self.config.gradient_checkpointing):
            for number, stage in enumerate(stages):
                state = loop.begin(self.bank, stage, self.rows, seed=self.config.seed, mixed=False)
                self.settle_plan(stages, state, planned)
                watch = self.watch(number, interrupt)
                if resume:
                    watch.resume(checkpoints.load(found, state) if found else {"best": {}, "lines": 0})
                loop.train(state, watch, self.progress)
                interrupted = state.done < stage.steps
        self.save()
        self.save_base()
        return interrupted

    def settle_plan(self, stages: list[Stage], state: State, planned: Any) -> None:
        """Measure what is to be measured before step 1 and write it down, or obey what a resumed run wrote."""
        described = identity.describe(self.bank, stages, self.data, self.config.seed)
        if planned is not None:
            identity.require_same(self.folder.path, planned, described)
            self.bank.base.way = Way(**planned["way"])
            state.mixed = planned["interleave"] == "mixed"
            return
        way = settle(self.bank.base)
        seconds = self.measure_interleaving(state)
        choice = min(seconds, key=seconds.__getitem__) if seconds else self.config.interleave
        state.mixed = choice == "mixed"
        self.folder.write(self.folder.config.name, self.config.dump())
        settled = {"interleave": choice, "interleave_seconds": seconds, "way": way.__dict__}
        self.folder.write_json("plan.json", {**described, **settled})

    def measure_interleaving(self, state: State) -> dict[str, float]:
        """Seconds of a step by turns and mixed, where the config leaves the choice to a measurement."""
        if self.config.interleave != "auto":
            return {}
        if len(state.stage.lanes) < 2:
            return {"turns": 0.0}
        seconds = loop.faster_mixed(state)
        told = f"one step takes {seconds['turns']:.2f} s in turns and {seconds['mixed']:.2f} s mixed"
        self.progress.note(f"{told}: {min(seconds, key=seconds.__getitem__)}")
        return seconds

    def watch(self, stage: int, interrupt: Interrupt) -> Watch:
        """The hooks of a stage."""
        cards = {name: self.card(name) for name in self.bank.adapters}
        return Watch(
            self.folder, stage, self.validation, cards, interrupt, self.progress,
            save_steps=self.config.save_steps, save_epochs=self.config.save_strategy == "epoch",
            logging_steps=self.config.logging_steps,
        )  # fmt: skip

    def card(self, name: str, metrics: dict[str, float | None] | None = None) -> card.Card:
        """What stands beside an adapter's tensors."""
        task = self.config.owners[name]
        trained = task.training.model_dump() if task.task.train else {}
        return card.describe(
            self.bank.base,
            task=task.name,
            composition=list(task.adapters),
            prompt=task.task.model_dump(include=PROMPT),
            data=self.data[task.name] if task.task.train else None,
            metrics=metrics,
            settings={**trained, **self.bank.get(name).config.model_dump()},
        )

    def save(self, metrics: Mapping[str, dict[str, float | None]] | None = None) -> None:
        """Write every adapter, with the metrics of each on its card."""
        for name in self.bank.adapters:
            store.save(self.bank, name, self.folder.adapter(name), self.card(name, (metrics or {}).get(name)))

    def save_base(self) -> None:
        """Write the base where it was trained, as transformers reads it."""
        if self.full:
            with store.atomic.folder(self.folder.base) as work:
                base.save(self.bank.base, work)

    def finish(self, before: list[CaseSet]) -> list[Result]:
        """Evaluate every task, keep the cases, and write the adapters' metrics onto their cards."""
        if self.full:
            items = runs.measure_items(self.bank, self.tasks, {})
            sets = before + runs.as_full(runs.measure(self.bank, items, self.config, self.progress))
        else:
            items = runs.measure_items(self.bank, self.tasks, runs.compositions(self.config, self.bank))
            sets = runs.measure(self.bank, items, self.config, self.progress)
        results = evaluate.save(self.folder.path, sets, seed=self.config.seed)
        self.save({name: _metrics(results, task.name) for name, task in self.config.owners.items()})
        return results


def _metrics(results: list[Result], name: str) -> dict[str, float | None]:
    """Of a task with its own adapters."""
    return {f"{one.split}/{one.metric}": one.value for one in results if one.task == one.adapter == name}
