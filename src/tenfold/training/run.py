"""From a config to a finished run: load, check, plan, train, save, evaluate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from tenfold import plugins, routing, runs, store
from tenfold.adapters import Bank, copies
from tenfold.adapters._base import Kind
from tenfold.adapters.activations import directions
from tenfold.adapters.targets import match
from tenfold.base import Base
from tenfold.base.layout import Row
from tenfold.config import Config, ResolvedTask
from tenfold.config.resolved import TaskAdapter
from tenfold.errors import AdapterError, ConfigError, DataError
from tenfold.evaluate import Result
from tenfold.evaluate.preparation import prepare
from tenfold.generate.request import require_room
from tenfold.progress import SILENT, Progress
from tenfold.store import RunFolder
from tenfold.tasks import Task, encode_all
from tenfold.tasks.examples import Example
from tenfold.training import plan
from tenfold.training.job import Job
from tenfold.training.plan import Stage

Rows = dict[str, list[Row]]


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
    anything is trained (or cleared) where that can be known.
    """
    folder = RunFolder.open(config.output_dir) if resume else None
    if not resume and not overwrite and config.output_dir.exists():
        RunFolder.create(config.output_dir)  # says so now, not minutes later, where there is a run already
    tasks = runs.load_tasks(config)
    bank = Bank(runs.load_base(config, config.base_model, progress))
    with config.locating():
        rows, validation = _encode(tasks, bank.base, progress)
        _install(config, bank, rows, progress)
        stages = plan.make(config, {name: len(own) for name, own in rows.items()})
        _require_rows(stages, rows)
        for task in tasks:
            for split in task.eval_sets:
                prepare(task, split, bank.base)
    folder = folder or RunFolder.create(config.output_dir, overwrite=overwrite)
    job = Job(config, folder, bank, tasks, rows, validation, progress)
    before = job.measure_before()
    interrupted = job.train(stages, resume)
    results = [] if interrupted else job.finish(before)
    finished = runs.Run(folder, config, bank)
    results += [] if interrupted else routing.conclude(finished, tasks, progress)
    return Finished(finished, results, interrupted)


def _encode(tasks: Sequence[Task], base: Base, progress: Progress) -> tuple[Rows, Rows]:
    """Training and validation rows of each task, as tokens."""
    train = {task.name: _tokens(task, "train", task.train, base, progress) for task in tasks}
    return train, {task.name: _tokens(task, "validation", task.validation, base, progress) for task in tasks}


def _tokens(task: Task, split: str, examples: Sequence[Example], base: Base, progress: Progress) -> list[Row]:
    try:
        rows = [one.row for one in encode_all(examples, base.coding, task.settings, progress)]
        for number, row in enumerate(rows, 1):
            require_room(base, f"row {number}", max(len(row.tokens), len(row.source)), 0)
    except DataError as error:
        raise DataError(f"tasks.{task.name}: {split}: {error}") from None
    return rows


def _install(config: Config, bank: Bank, rows: Rows, progress: Progress) -> None:
    """New adapters for each task, or those that its ``adapter_path`` names."""
    if bank.base.heads and any(not task.adapters for task in config.tasks.values()):
        raise ConfigError("adapter: full given, but a base for classification can't be trained in full yet")
    for task in config.tasks.values():
        for name, own in task.adapters.items():
            if path := task.adapter_paths.get(name):
                _bring(bank, config.folder / path, task, name)
            elif task.task.train:
                modules = _own_modules(bank.base, task, config.seed) if name == next(iter(task.adapters)) else {}
                found = _directions(config, bank.base, task, own, rows[task.name], progress)
                bank.add(name, own.kind, own.settings, seed=config.seed, directions=found, copies=modules)


def _directions(
    config: Config, base: Base, task: ResolvedTask, own: TaskAdapter, rows: Sequence[Row], progress: Progress
) -> dict[str, Tensor] | None:
    """What a task's rows give the layers, for an adapter that begins with that."""
    kind: Kind = plugins.find("tenfold.adapters", own.kind)
    if not rows or not (count := kind.needs(own.settings)):
        return None
    layers = match(base.model, kind.targets(own.settings))
    batch = task.training.micro_batch_size
    try:
        return directions(base, layers, rows, count, seed=config.seed, batch=batch, progress=progress)
    except AdapterError as error:
        raise AdapterError(f"tasks.{task.name}: {error}") from None


def _own_modules(base: Base, task: ResolvedTask, seed: int) -> dict[str, nn.Module]:
    """What a task's first adapter has for itself: heads of classification, and the modules that the task names."""
    named = copies.new_copies(base, task.training.modules_to_save or ())
    return {**(copies.new_heads(base, len(task.task.classes), seed) if base.heads else {}), **named}


def _bring(bank: Bank, folder: Path, task: ResolvedTask, name: str) -> None:
    own = task.adapters[name]
    try:
        store.load(bank, folder, name, training=own.settings.model_dump())
    except AdapterError as error:
        raise AdapterError(f"tasks.{task.name}.adapter_path: {error}") from None
    if (kind := bank.get(name).kind) != own.kind:
        raise AdapterError(f"tasks.{task.name}.adapter_path: {folder} is of kind {kind}, but {own.kind} is wanted")


def _require_rows(stages: Sequence[Stage], rows: Mapping[str, list[Row]]) -> None:
    if not any(stage.lanes for stage in stages):
        raise ConfigError("tasks: none of them trains anything; set train: true in one, or use `tenfold evaluate`")
    for feed in (feed for stage in stages for lane in stage.lanes for feed in lane.feeds):
        if not rows[feed.task]:
            raise DataError(f"tasks.{feed.task}: no training rows")
