"""From a config to a finished run: load, check, plan, train, save, evaluate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold import runs, store
from tenfold.adapters import Bank
from tenfold.base import Base
from tenfold.base.layout import Row
from tenfold.config import Config
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
        _install(config, bank)
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
    return Finished(runs.Run(folder, config, bank), results, interrupted)


def _encode(tasks: Sequence[Task], base: Base, progress: Progress) -> tuple[Rows, Rows]:
    """Training and validation rows of each task, as tokens."""
    train = {task.name: _tokens(task, "train", task.train, base, progress) for task in tasks}
    return train, {task.name: _tokens(task, "validation", task.validation, base, progress) for task in tasks}


def _tokens(task: Task, split: str, examples: Sequence[Example], base: Base, progress: Progress) -> list[Row]:
    try:
        rows = [one.row for one in encode_all(examples, base.tokenizer, task.settings, progress)]
        for number, row in enumerate(rows, 1):
            require_room(base, f"row {number}", len(row.tokens), 0)
    except DataError as error:
        raise DataError(f"tasks.{task.name}: {split}: {error}") from None
    return rows


def _install(config: Config, bank: Bank) -> None:
    """A new adapter for each task, or the one that its ``adapter_path`` names."""
    for name, task in config.tasks.items():
        if task.task.adapter_path:
            _bring(config, bank, name, task.task.adapter_path)
        elif task.task.train and task.adapter_kind != runs.FULL:
            bank.add(name, task.adapter_kind, task.adapter, seed=config.seed)


def _bring(config: Config, bank: Bank, name: str, path: str) -> None:
    if config.task(name).adapter_kind == runs.FULL:
        raise ConfigError(f"tasks.{name}.adapter_path: with adapter full the base itself is trained, without adapters")
    try:
        given = config.task(name).adapter
        store.load(bank, config.folder / path, name, training=given.model_dump() if given else {})
    except AdapterError as error:
        raise AdapterError(f"tasks.{name}.adapter_path: {error}") from None


def _require_rows(stages: Sequence[Stage], rows: Mapping[str, list[Row]]) -> None:
    if not any(stage.lanes for stage in stages):
        raise ConfigError("tasks: none of them trains anything; set train: true in one, or use `tenfold evaluate`")
    for feed in (feed for stage in stages for lane in stage.lanes for feed in lane.feeds):
        if not rows[feed.task]:
            raise DataError(f"tasks.{feed.task}: no training rows")
