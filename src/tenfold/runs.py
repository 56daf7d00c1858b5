"""A run, opened for use: its base, its adapters in a bank, its tasks; measured and asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tenfold import base, evaluate, store, tasks
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.base.chat import end_of_turn
from tenfold.config import Config
from tenfold.errors import ConfigError, RunError, nearest
from tenfold.evaluate import BASE_LABEL, CaseSet, Item, Result
from tenfold.evaluate.cases import case_file, read_cases
from tenfold.generate import Engine, Request, Sampling
from tenfold.progress import SILENT, Progress
from tenfold.store import RunFolder
from tenfold.tasks import Task
from tenfold.tasks.examples import Prompt, make_prompt
from tenfold.tasks.formats import fill_prompt
from tenfold.tasks.prompts import Template
from tenfold.tasks.settings import TaskSettings

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MOST_NEW_TOKENS = 128
FULL = "full"


@dataclass
class Run:
    """A run folder with everything loaded that it takes to use it."""

    folder: RunFolder
    config: Config
    bank: Bank

    def tasks(self, names: Sequence[str] | None = None) -> list[Task]:
        """The run's tasks with their rows (those named, or all). Raises ConfigError for an unknown name."""
        chosen = self.config.tasks if names is None else {name: self.config.task(name) for name in names}
        return load_tasks(self.config, list(chosen))

    def composition(self, adapter: str) -> Composition:
        """``base``, one adapter, or several: ``a+b``, ``a:0.5+b:0.5``. Raises ConfigError for what is not there."""
        if adapter == BASE_LABEL:
            return BASE
        parts = [part.partition(":") for part in adapter.split("+")]
        known = [*self.bank.adapters, BASE_LABEL]
        for name, _, _ in parts:
            if name not in self.bank.adapters:
                raise ConfigError(f"no adapter {name!r}; there are: {', '.join(known)}{nearest(name, known)}")
        try:
            return compose(*((name, float(weight or 1)) for name, _, weight in parts))
        except ValueError:
            raise ConfigError(f"adapter {adapter!r}: a weight must be a number, as in a:0.5+b:0.5") from None

    def evaluate(
        self,
        *,
        adapters: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        progress: Progress = SILENT,
    ) -> list[Result]:
        """Measure tasks with the base and their own adapter, or with the base and those given; kept in the run."""
        chosen = self.tasks(names)
        compositions = {name: self.composition(name) for name in adapters or ()}
        items = measure_items(chosen, self.bank, compositions or None)
        sets = evaluate.evaluate(self.bank, items, progress=progress)
        if self.folder.base.is_dir():
            sets = self._before(sets) + as_full(sets)
        return evaluate.save(self.folder.path, sets, seed=self.config.seed)

    def _before(self, sets: Sequence[CaseSet]) -> list[CaseSet]:
        """The same cases as the base answered them before it was trained, where the run kept them."""
        found = []
        for one in sets:
            path = case_file(self.folder.cases, one.task, BASE_LABEL)
            cases = [case for case in read_cases(path) if case.split == one.split] if path.exists() else []
            if len(cases) == len(one.cases):
                found.append(replace(one, cases=cases))
        return found

    def generate(
        self,
        inputs: Sequence[str | Mapping[str, str]],
        adapter: str,
        *,
        task: str | None = None,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Answers to texts, or to the columns of the task's template, by an adapter (see ``composition``).

        task: whose prompt is used; the adapter's own by default. Without one the text goes through the chat
        template as it is.
        """
        composition = self.composition(adapter)
        name = task or next((n for n, _ in composition if n in self.config.tasks), None)
        settings = self.config.task(name).task if name else None
        tokenizer, model = self.bank.base.tokenizer, self.bank.base.model
        longest = max_new_tokens or (settings and settings.max_new_tokens) or MOST_NEW_TOKENS
        stop, eos = tuple(settings.stop) if settings else (), frozenset(end_of_turn(tokenizer, model))
        prompts = [tasks.prompt_tokens(make_request(one, settings or TaskSettings()), tokenizer) for one in inputs]
        requests = [Request(p, composition, longest, sampling or Sampling(), stop, eos) for p in prompts]
        return [completion.text for completion in Engine(self.bank).generate(requests, progress)]


def load(path: str | Path, *, progress: Progress = SILENT) -> Run:
    """Open a run folder: its base and all of its adapters. Raises RunError for a folder that is none."""
    folder = RunFolder.open(Path(path))
    config = Config.load(folder.config, require_files=False)
    trained = folder.base.is_dir()
    bank = Bank(load_base(config, str(folder.base) if trained else config.base_model, progress))
    for name, place in folder.adapters().items():
        store.load(bank, place, name)
    if not bank.adapters and not trained:
        raise RunError(f"{folder.path} has no adapters yet; go on with: tenfold train CONFIG --resume")
    return Run(folder, config, bank)


def load_base(config: Config, name: str, progress: Progress = SILENT) -> base.Base:
    """A base model on the device and in the float type of the config."""
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = config.dtype
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"
    loaded = base.load(name, device=device, dtype=DTYPES[dtype], quantization=_quantization(config), progress=progress)
    if config.model_type not in (None, type(loaded.model).__name__):
        raise ConfigError(f"model_type: {config.model_type!r} given, but {name} is a {type(loaded.model).__name__}")
    return loaded


def _quantization(config: Config) -> base.Quantization | None:
    kind, compute = config.base_quantization, config.bnb_4bit_compute_dtype
    return kind and base.Quantization(kind, config.bnb_4bit_use_double_quant, DTYPES.get(compute))


def load_tasks(config: Config, names: Sequence[str] | None = None) -> list[Task]:
    """Tasks of a config with their rows; errors say where in the config the key stands."""
    with config.locating():
        return [tasks.load(name, config.task(name).task, config.folder) for name in names or config.tasks]


def measure_items(chosen: Sequence[Task], bank: Bank, others: Mapping[str, Composition] | None = None) -> list[Item]:
    """Every evaluation set with the base and with the task's own adapter where it has one, or with the others."""
    items = []
    for task in chosen:
        own = {task.name: compose(task.name)} if task.name in bank.adapters else {}
        for split in task.eval_sets:
            for label, composition in {BASE_LABEL: BASE, **(own if others is None else others)}.items():
                items.append(Item(task, split, label, composition))
    return items


def as_full(sets: Sequence[CaseSet]) -> list[CaseSet]:
    """Cases of a base that was trained itself, told apart from those of the base as it came."""
    return [replace(one, adapter=FULL, composition=((FULL, 1.0),)) if not one.composition else one for one in sets]


def make_request(given: str | Mapping[str, str], settings: TaskSettings) -> Prompt:
    """The prompt of one request: columns fill the task's template, and so does a text where it has one column.

    Raises ConfigError for a text where the template has several columns, DataError for a missing column.
    """
    if not isinstance(given, str):
        return fill_prompt(given, settings)
    if settings.prompt is None:
        return (
            fill_prompt({"instruction": given}, settings)
            if settings.data_format == "alpaca"
            else make_prompt(given, settings)
        )
    columns = list(dict.fromkeys(Template.parse(settings.prompt).columns))
    if len(columns) > 1:
        raise ConfigError(f"the task's prompt has the columns {', '.join(columns)}; give --column NAME=VALUE for each")
    return fill_prompt({columns[0]: given}, settings) if columns else make_prompt(given, settings)
