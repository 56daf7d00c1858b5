"""lora-pytorch's finetune.py: its flags as a config with one task, run by the ordinary training."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold import evaluate, runs, store, training
from tenfold.adapters import Bank
from tenfold.compat import checkpoints
from tenfold.config import Config
from tenfold.errors import ConfigError
from tenfold.evaluate import Result
from tenfold.evaluate.summary import summarise
from tenfold.progress import SILENT, Progress
from tenfold.store import RunFolder
from tenfold.training import Finished

METRICS = ["loss", "perplexity"]


@dataclass(frozen=True)
class Flags:
    """The flags by their names; what is None is tenfold's default."""

    model_name_or_path: str
    target_modules_path: Path | None
    prompt_format_path: Path | None
    train_data_path: Path | None
    checkpoint_dir: Path
    num_epochs: float | None = None
    validation_data_path: Path | None = None
    seed: int | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    load_from_checkpoint: Path | None = None

    @property
    def task(self) -> str:
        """The name of the one task: that of the checkpoint's folder."""
        name = re.sub(r"\W", "_", self.checkpoint_dir.resolve().name)
        return name if name not in ("", "base") else "downstream"

    @property
    def resumes(self) -> bool:
        """Whether what is to be loaded is the run that is trained here, cut short."""
        given = self.load_from_checkpoint
        return given is not None and given.resolve() == self.checkpoint_dir.resolve()


def finetune(flags: Flags, progress: Progress = SILENT) -> Finished:
    """Train into ``checkpoint_dir``, with a checkpoint for each epoch in ``stages/0/epoch-N``.

    ``load_from_checkpoint`` is an adapter's folder, whose numbers are the first ones, or ``checkpoint_dir`` itself:
    then the run that is there goes on. Raises TenfoldError for anything that the user can mend.
    """
    config = configure(flags, path=_required(flags, "train_data_path"), adapter_path=_begun(flags))
    return training.run(config, resume=flags.resumes, progress=progress)


def _begun(flags: Flags) -> Path | str | None:
    """The adapter that training begins with, or that the run which goes on began with."""
    if flags.load_from_checkpoint is None:
        return None
    if not flags.resumes:
        return checkpoints.find(flags.load_from_checkpoint)
    config = Config.load(RunFolder.open(flags.checkpoint_dir).config, require_files=False)
    return config.task(flags.task).task.adapter_path


def epochs(finished: Finished) -> list[Path]:
    """The checkpoint of each epoch, in order."""
    found = finished.run.folder.path.glob("stages/0/epoch-*/*")
    return sorted(found, key=lambda path: int(path.parent.name.partition("-")[2]))


def measure(flags: Flags, progress: Progress = SILENT) -> list[Result]:
    """Measure base and checkpoint on the validation rows (or the training rows, without such); nothing is kept.

    The checkpoint is ``load_from_checkpoint``, or what ``checkpoint_dir`` holds.
    """
    folder = checkpoints.find(flags.load_from_checkpoint or flags.checkpoint_dir)
    rows = flags.validation_data_path or _required(flags, "train_data_path")
    config = configure(flags, train=False, eval_path=rows, validation_path=None)
    bank = Bank(runs.load_base(config, config.base_model, progress))
    store.load(bank, folder, flags.task)
    labels = runs.present(config, bank)
    items = runs.measure_items(runs.load_tasks(config), lambda task: runs.labelled(config, bank, task, labels))
    return summarise(evaluate.evaluate(bank, items, progress=progress), seed=config.seed)


def configure(flags: Flags, **task: Any) -> Config:
    """The config that the flags mean. task: more settings of its one task. Raises ConfigError."""
    settings = {
        "base_model": flags.model_name_or_path,
        "output_dir": flags.checkpoint_dir,
        "seed": flags.seed,
        "lora_r": flags.lora_rank,
        "lora_alpha": flags.lora_alpha,
        "lora_target_modules": flags.target_modules_path and flags.target_modules_path.resolve(),
        "micro_batch_size": flags.batch_size,
        "learning_rate": flags.learning_rate,
        "num_epochs": flags.num_epochs,
        "save_strategy": "epoch",
    }
    own = {
        "data_format": "alpaca",
        "prompt": flags.prompt_format_path and _text(flags.prompt_format_path),
        "prompt_style": "raw",
        "validation_path": flags.validation_data_path,
        "metrics": METRICS,
        **task,
    }
    return Config.parse({**settings, "tasks": {flags.task: own}})


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"--prompt_format_path {path}: cannot be read: {reason}") from None


def _required(flags: Flags, name: str) -> Path:
    found: Path | None = getattr(flags, name)
    if found is None:
        raise ConfigError(f"--{name}: required, but nothing given")
    return found
