"""Multiple LoRA Training's MLTrainer: transformers' and PEFT's objects in, a config of the sequential schedule out."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.optim import Optimizer
from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from tenfold import runs, training
from tenfold.base.calls import quiet
from tenfold.compat import arguments
from tenfold.config import Config
from tenfold.errors import ConfigError, DataError
from tenfold.generate.classify import classify
from tenfold.progress import SILENT, Progress
from tenfold.store import atomic
from tenfold.tasks import encode_all
from tenfold.training import Finished
from tenfold.training.loop import Loop

Rows = Iterable[Mapping[str, Any]]
Metrics = Callable[[EvalPrediction], dict[str, float]]
KEPT = ("input_ids", "attention_mask", "token_type_ids", "labels", "label")


class MLTrainer:
    """One LoRA after the other, with joint stages on all so far (github.com/ostix360/MLT).

    model: a causal, encoder-decoder or classification model, which stays as it is. finetune_first: whether the first
    data set trains the whole model. training_args: ``output_dir`` will hold ``model``, ``rows`` and ``run``, a run
    folder. train_datasets, eval_datasets: by task, data sets or lists of rows with tokens (input_ids, and labels or
    label). data_collator: called with each row by itself, for the labels that it makes. lora_config: PEFT's, for every
    new adapter. compute_metrics: for classification, called with every evaluation set after training. loras: folders of
    pretrained adapters, by name or each called as its folder; they train if a training set has their name. optimizer:
    a name as in a config, or an AdamW or Adafactor whose settings are taken. train_ratio: share of every training set
    in joint stages. Raises TenfoldError for anything that tenfold has not.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        finetune_first: bool,
        training_args: TrainingArguments,
        train_datasets: Mapping[str, Rows],
        eval_datasets: Mapping[str, Rows],
        data_collator: Callable[[list[dict[str, Any]]], Mapping[str, Any]] | None = None,
        lora_config: Any = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        compute_metrics: Metrics | None = None,
        loras: Sequence[str | Path] | Mapping[str, str | Path] = (),
        optimizer: str | Optimizer | None = None,
        train_ratio: float = 0.5,
    ) -> None:
        if tokenizer is None:
            raise ConfigError("tokenizer: required, but nothing given")
        self.family = arguments.family(model)
        if compute_metrics and self.family != "classification":
            raise ConfigError("compute_metrics: only for classification; set it to None, loss is measured")
        self.model, self.tokenizer, self.collate = model, tokenizer, data_collator
        self.place = Path(str(training_args.output_dir)).resolve()
        self.datasets = {"train": train_datasets, "eval": eval_datasets}
        self.compute_metrics = compute_metrics
        self.metrics: dict[str, dict[str, float]] = {}
        named = dict(loras) if isinstance(loras, Mapping) else {Path(one).name: one for one in loras}
        self.settings = {
            "base_model": str(self.place / "model"),
            "family": self.family,
            "output_dir": str(self.place / "run"),
            "dtype": str(model.dtype).removeprefix("torch."),
            "schedule": "sequential",
            "finetune_first": finetune_first,
            "train_ratio": train_ratio,
            "loras": {name: str(Path(one).resolve()) for name, one in named.items()},
            **arguments.training(training_args),
            **arguments.optimizer(optimizer),
            **({} if lora_config is None else arguments.adapter(lora_config, model)),
        }

    def train(self, *, resume: bool = False, progress: Progress = SILENT) -> Finished:
        """Train every stage; ``metrics`` holds afterwards what ``compute_metrics`` says of each evaluation set."""
        return self._train(None, resume, progress)

    def custom_train(self, trainer: Loop, *, resume: bool = False, progress: Progress = SILENT) -> Finished:
        """The same with a loop of one's own for each stage, see ``tenfold.training.loop``."""
        return self._train(trainer, resume, progress)

    def configure(self) -> Config:
        """Write the model and the rows, and say what trains as a config."""
        (self.place / "model").mkdir(parents=True, exist_ok=True)
        with quiet():
            self.model.save_pretrained(self.place / "model")
            self.tokenizer.save_pretrained(self.place / "model")
        return Config.parse({**self.settings, "tasks": {name: self._task(name) for name in self.datasets["train"]}})

    def _train(self, loop: Loop | None, resume: bool, progress: Progress) -> Finished:
        finished = training.run(self.configure(), resume=resume, loop=loop, progress=progress)
        if self.compute_metrics and not finished.interrupted:
            self.metrics = {name: self._measure(finished.run, name) for name in self.datasets["eval"]}
        return finished

    def _task(self, name: str) -> dict[str, Any]:
        sets = {split: self._write(name, split) for split, own in self.datasets.items() if name in own}
        found: dict[str, Any] = {"data_format": "tokens", "path": sets["train"], "eval_path": sets.get("eval")}
        if self.family == "classification":
            names = self.model.config.id2label
            found["options"] = [names[number] for number in sorted(names)]
        return found

    def _write(self, name: str, split: str) -> str:
        path = self.place / "rows" / f"{name}.{split}.jsonl"
        rows = (self._row(f"{split}_datasets[{name!r}]", row) for row in self.datasets[split][name])
        atomic.write(path, "".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    def _row(self, where: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row's tokens and labels as plain numbers, as the collator has them where there is one."""
        kept = {key: row[key] for key in KEPT if key in row}
        found = {key: np.asarray(value).tolist() for key, value in kept.items()}
        if self.collate:
            found = {key: np.asarray(value)[0].tolist() for key, value in self.collate([kept]).items() if key in KEPT}
        if any(found.pop("token_type_ids", [])):
            raise DataError(f"{where}: token_type_ids other than 0 are not supported")
        return found

    def _measure(self, run: runs.Run, name: str) -> dict[str, float]:
        assert self.compute_metrics
        (task,) = run.tasks([name])
        composition = list(run.wanted({})(task).values())[-1]
        rows = [one.row for one in encode_all(task.eval_sets["eval"], run.bank.base.coding, task.settings)]
        found = classify(run.bank, [(row.tokens, composition) for row in rows])
        return self.compute_metrics(EvalPrediction(np.array(found), np.array([row.label for row in rows])))
