"""From a config to a finished run: load, plan, train, save, evaluate."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tenfold import evaluate, runs, store
from tenfold.adapters import Bank
from tenfold.base.head import checkpointing
from tenfold.base.layout import Row
from tenfold.base.probe import settle
from tenfold.config import Config
from tenfold.errors import ConfigError, DataError, RunError
from tenfold.evaluate import CaseSet, Result
from tenfold.progress import SILENT, Progress
from tenfold.store import RunFolder, card
from tenfold.tasks import Task, encode_all
from tenfold.training import checkpoints, loop, plan
from tenfold.training.loop import State
from tenfold.training.plan import Stage
from tenfold.training.watch import Interrupt, Watch

FULL = "full"


@dataclass(frozen=True)
class Finished:
    """What a training left: its run, opened, the results of the evaluation, and whether it was cut short."""

    run: runs.Run
    results: list[Result]
    interrupted: bool


def run(config: Config, *, resume: bool = False, overwrite: bool = False, progress: Progress = SILENT) -> Finished:
    """Train a config's adapters side by side, save them, evaluate them; everything goes into the run folder.

    resume: go on from the last checkpoint, to the numbers of a run that was not cut short.
    overwrite: clear the run that is there. Raises TenfoldError for anything that the user can mend, before
    anything is trained where that can be known.
    """
    folder = RunFolder.open(config.output_dir) if resume else None
    tasks = runs.load_tasks(config)
    bank = Bank(runs.load_base(config, config.base_model, progress))
    rows, validation = _encode(tasks, bank, progress)
    _install(config, bank)
    stages = plan.make(config, {name: len(own) for name, own in rows.items()})
    _check(stages, rows)
    folder = folder or RunFolder.create(config.output_dir, overwrite=overwrite)
    job = _Job(config, folder, bank, tasks, rows, validation, progress)
    if not resume:
        folder.write(folder.config.name, config.dump())
    before = job.measure_before(stages)
    interrupted = job.train(stages, resume)
    results = [] if interrupted else job.finish(before)
    return Finished(runs.Run(folder, config, bank), results, interrupted)


def _encode(tasks: list[Task], bank: Bank, progress: Progress) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """Training and validation rows of each task, as tokens."""

    def rows(task: Task, split: str) -> list[Row]:
        examples = getattr(task, split)
        try:
            return [one.row for one in encode_all(examples, bank.base.tokenizer, task.settings, progress)]
        except DataError as error:
            raise DataError(f"tasks.{task.name}: {split}: {error}") from None

    return tuple({task.name: rows(task, split) for task in tasks} for split in ("train", "validation"))  # type: ignore[return-value]


def _install(config: Config, bank: Bank) -> None:
    """A new adapter for each task, or the one that its ``adapter_path`` names."""
    for name, task in config.tasks.items():
        if task.task.adapter_path:
            store.load(bank, config.folder / task.task.adapter_path, name)
        elif task.task.train and task.adapter_kind != FULL:
            bank.add(name, task.adapter_kind, task.adapter, seed=config.seed)


def _check(stages: list[Stage], rows: Mapping[str, list[Row]]) -> None:
    if not any(stage.lanes for stage in stages):
        raise ConfigError("tasks: none of them trains anything; set train: true in one, or use `tenfold evaluate`")
    for stage in stages:
        for lane in stage.lanes:
            for feed in lane.feeds:
                if not rows[feed.task]:
                    raise DataError(f"tasks.{feed.task}: no training rows")


@dataclass
class _Job:
    config: Config
    folder: RunFolder
    bank: Bank
    tasks: list[Task]
    rows: dict[str, list[Row]]
    validation: dict[str, list[Row]]
    progress: Progress

    @property
    def full(self) -> bool:
        """Whether the base itself is trained."""
        return any(task.adapter_kind == FULL for task in self.config.tasks.values())

    def measure_before(self, stages: list[Stage]) -> list[CaseSet]:
        """The untouched base on every task, where training will change it."""
        if not self.full:
            return []
        return evaluate.evaluate(self.bank, runs.measure_items(self.tasks, self.bank, {}), progress=self.progress)

    def train(self, stages: list[Stage], resume: bool) -> bool:
        """Every stage in turn -> whether it was interrupted. The adapters are on disk afterwards."""
        done = self.folder.read_json("plan.json") if resume else None
        found = checkpoints.find(self.folder) if resume else None
        interrupt = Interrupt()
        interrupted = False
        with interrupt.listening(), checkpointing(self.bank.base.model, self.config.gradient_checkpointing):
            for number, stage in enumerate(stages):
                state = loop.begin(self.bank, stage, self.rows, seed=self.config.seed, mixed=False)
                self.settle_plan(stages, state, done)
                watch = self.watch(number, interrupt)
                if found:
                    watch.resume(checkpoints.load(found, state))
                loop.train(state, watch, self.progress)
                interrupted = state.done < stage.steps
        self.save()
        return interrupted

    def settle_plan(self, stages: list[Stage], state: State, done: Any) -> None:
        """Measure what is to be measured before step 1 and write it down, or obey what a resumed run wrote."""
        described = [stage.to_json() for stage in stages]
        if done is not None:
            if done["stages"] != json.loads(json.dumps(described)):
                raise RunError(f"{self.folder.path}: the config is not the one that this run was planned with")
            state.mixed = done["interleave"] == "mixed"
            return
        choice, seconds = self.config.interleave, None
        if choice == "auto":
            seconds = loop.faster_mixed(state) if len(state.stage.lanes) > 1 else {"turns": 0.0, "mixed": 0.0}
            choice = "mixed" if seconds["mixed"] < seconds["turns"] else "turns"
            if len(state.stage.lanes) > 1:
                self.progress.note(
                    f"one step takes {seconds['turns']:.2f} s in turns and {seconds['mixed']:.2f} s mixed: {choice}"
                )
        state.mixed = choice == "mixed"
        way = settle(self.bank.base)
        written = {"stages": described, "interleave": choice, "interleave_seconds": seconds}
        self.folder.write_json(
            "plan.json", {**written, "path": way.path, "attention": way.attention, "probe_error": way.error}
        )

    def watch(self, stage: int, interrupt: Interrupt) -> Watch:
        cards = {name: self.card(name) for name in self.bank.adapters}
        return Watch(
            self.folder, stage, self.validation, cards, interrupt, self.progress,
            save_steps=self.config.save_steps, logging_steps=self.config.logging_steps,
        )  # fmt: skip

    def card(self, name: str, metrics: dict[str, float | None] | None = None) -> card.Card:
        """What stands beside an adapter's tensors."""
        resolved = self.config.task(name)
        template = resolved.task.model_dump(
            include={"prompt", "response", "system", "prompt_style", "labels", "data_format"}
        )
        settings = {**resolved.training.model_dump(), **(resolved.adapter.model_dump() if resolved.adapter else {})}
        return card.describe(
            self.bank.base,
            task=name,
            prompt=template,
            data=_digest(self.rows[name]),
            metrics=metrics,
            settings=settings,
        )

    def save(self, metrics: Mapping[str, dict[str, float | None]] | None = None) -> None:
        for name in self.bank.adapters:
            store.save(self.bank, name, self.folder.adapter(name), self.card(name, (metrics or {}).get(name)))
        if self.full:
            with store.atomic.folder(self.folder.path / "base") as work:
                self.bank.base.model.save_pretrained(work)
                self.bank.base.tokenizer.save_pretrained(work)

    def finish(self, before: list[CaseSet]) -> list[Result]:
        """Evaluate every task, keep the cases, and write the adapters' metrics onto their cards."""
        if self.full:
            items = runs.measure_items(self.tasks, self.bank, {})
            after = evaluate.evaluate(self.bank, items, progress=self.progress)
            sets = before + [replace(one, adapter=FULL, composition=((FULL, 1.0),)) for one in after]
        else:
            sets = evaluate.evaluate(self.bank, runs.measure_items(self.tasks, self.bank), progress=self.progress)
        results = evaluate.save(self.folder.path, sets, seed=self.config.seed)
        self.save({name: _metrics(results, name) for name in self.bank.adapters})
        return results


def _metrics(results: list[Result], name: str) -> dict[str, float | None]:
    return {f"{one.split}/{one.metric}": one.value for one in results if one.task == one.adapter == name}


def _digest(rows: list[Row]) -> str:
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps([list(row.tokens), list(row.supervised)]).encode())
    return found.hexdigest()
