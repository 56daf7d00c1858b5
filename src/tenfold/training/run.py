"""From a config to a finished run: load, check, plan, train, save, evaluate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold import runs
from tenfold.adapters import Bank
from tenfold.base import Base
from tenfold.base.layout import Row
from tenfold.config import Config
from tenfold.errors import AdapterError, ConfigError, DataError
from tenfold.evaluate import Result, read_results
from tenfold.evaluate.preparation import prepare
from tenfold.generate.request import require_room
from tenfold.progress import SILENT, Progress
from tenfold.store import RunFolder
from tenfold.tasks import Task, encode_all
from tenfold.tasks.examples import Example
from tenfold.training import checkpoints, plan, seeds
from tenfold.training.installation import install
from tenfold.training.job import Job
from tenfold.training.loop import Loop
from tenfold.training.plan import Feed, Stage

Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class Finished:
    """What a training left: its run, opened, the results of the evaluation, and whether it was cut short."""

    run: runs.Run
    results: list[Result]
    interrupted: bool


@dataclass
class Loaded:
    """What runs of one config with several seeds share. base: None once a run has trained it."""

    tasks: list[Task]
    base: Base | None
    rows: Rows
    validation: Rows


def run(
    config: Config,
    *,
    resume: bool = False,
    overwrite: bool = False,
    loop: Loop | None = None,
    progress: Progress = SILENT,
) -> Finished:
    """Train a config stage by stage, save what was trained, evaluate it; everything goes into the run folder.

    resume: go on from the last checkpoint, to the numbers of a run that was not cut short.
    overwrite: clear the run that is there. loop: takes the place of the built-in loop, see ``training.loop``.
    With ``seeds`` there is a run for each, in a folder of its own; the last one is given back, with all results.
    Raises TenfoldError for anything that the user can mend, before anything is trained (or cleared) where that can
    be known.
    """
    if config.seeds:
        return _run_seeds(config, config.seeds, resume, overwrite, loop, progress)
    return run_one(config, None, resume, overwrite, loop, progress)


def _run_seeds(
    config: Config, numbers: Sequence[int], resume: bool, overwrite: bool, loop: Loop | None, progress: Progress
) -> Finished:
    """A run for each seed; rows are read once, and so is the base where nothing trains it."""
    folder = seeds.open_folder(config, numbers) if resume else None
    if not resume and config.output_dir.exists():
        RunFolder.create(config.output_dir, overwrite=overwrite)
    loaded = load(config, config.base_model, progress)
    finished = None
    for number in numbers:
        place = config.output_dir / f"seed-{number}"
        own = config.replace(seed=number, seeds=None, output_dir=place)
        progress.note(f"seed {number}")
        folder = folder or seeds.make_folder(config, numbers)
        goes_on = resume and (place / "plan.json").is_file()
        finished = run_one(own, loaded, goes_on, not goes_on, loop, progress)
        if finished.interrupted:
            return finished
        seeds.merge(folder, finished.run.folder)
        if number != numbers[-1]:
            finished.run.bank.clear()
    assert finished, "no seeds"
    return Finished(finished.run, read_results(folder.path / "results.json") if folder else [], False)


def load(config: Config, place: str, progress: Progress) -> Loaded:
    """Rows and base of a config, nothing of which depends on the seed. place: where the base is."""
    tasks = runs.load_tasks(config)
    base = runs.load_base(config, place, progress)
    with config.locating():
        return Loaded(tasks, base, *_encode(tasks, base, progress))


def run_one(
    config: Config, loaded: Loaded | None, resume: bool, overwrite: bool, loop: Loop | None, progress: Progress
) -> Finished:
    """The run of one seed."""
    folder = RunFolder.open(config.output_dir) if resume else None
    if not resume and not overwrite and config.output_dir.exists():
        RunFolder.create(config.output_dir)  # says so now, not minutes later, where there is a run already
    planned = folder.read_json("plan.json") if folder else None
    found = checkpoints.find(folder, progress) if folder else None
    based = bool(found and found.base)
    place = str(folder.base.resolve()) if folder and based else config.base_model
    loaded = loaded or load(config, place, progress)
    bank = Bank(runs.load_base(config, place, progress) if based or not loaded.base else loaded.base)
    rows = loaded.rows
    with config.locating():
        install(config, bank, rows, progress, planned and planned["base_model"])
        counts = {name: len(own) for name, own in rows.items()}
        stages = plan.make(config, counts, heads=bool(bank.base.heads))
        _require_rows(stages, rows)
        _require_heads(stages, bank)
        _require_prompts(config, bank.base)
        runs.read_texts(config)  # said now if they can't be had
        for task in loaded.tasks:
            for split in task.eval_sets:
                prepare(task, split, bank.base)
    if any(stage.trains_base for stage in stages):
        loaded.base = None
    folder = folder or RunFolder.create(config.output_dir, overwrite=overwrite)
    job = Job(config, folder, bank, loaded.tasks, rows, loaded.validation, stages, progress, loop)
    del bank  # the job may go on with another base, and nothing should hold this one then
    interrupted = job.train(planned, found)
    results = [] if interrupted else job.finish()
    return Finished(runs.Run(folder, config, job.bank), results, interrupted)


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


def _feeds(stages: Sequence[Stage]) -> list[Feed]:
    return [feed for stage in stages for lane in stage.lanes for feed in lane.feeds]


def _require_rows(stages: Sequence[Stage], rows: Mapping[str, list[Row]]) -> None:
    if not any(stage.lanes for stage in stages):
        raise ConfigError("tasks: none of them trains anything; set train: true in one, or use `tenfold evaluate`")
    for feed in _feeds(stages):
        if not rows[feed.task]:
            raise DataError(f"tasks.{feed.task}: no training rows")


def _require_heads(stages: Sequence[Stage], bank: Bank) -> None:
    """Every row of a base for classification passes through a head that has learnt or is to learn something."""
    if not bank.base.heads or bank.base.trained_head:
        return
    for feed in _feeds(stages):
        if not any(bank.get(name).copies for name, _ in feed.composition):
            raise AdapterError(f"tasks.{feed.task}: nothing that is active on its rows has a head, nor has the base")


def _require_prompts(config: Config, base: Base) -> None:
    if config.distillation and base.family != "causal":
        raise ConfigError(
            f"distillation: {config.distillation:g} given, but {base.name} says nothing about prompts; causal models do"
        )
