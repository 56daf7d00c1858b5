"""A run, opened for use: its base, its adapters in a bank, its tasks; measured and asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from tenfold import base, evaluate, route, store, tasks
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.adapters.combining import Recipe, combine
from tenfold.base.chat import end_of_turn
from tenfold.config import Config
from tenfold.errors import ConfigError, RunError, nearest
from tenfold.evaluate import BASE_LABEL, CaseSet, Item, Result
from tenfold.evaluate.cases import case_file, read_cases
from tenfold.generate import Engine, Request, Sampling
from tenfold.progress import SILENT, Progress
from tenfold.route import Decision, Router, outcome, rows
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
        """``base``, a task with all of its adapters, one adapter, or several of these: ``a+b``, ``a:0.5+b.lora:0.5``.

        Raises ConfigError for what is not there.
        """
        if adapter == BASE_LABEL:
            return BASE
        parts = [part.partition(":") for part in adapter.split("+")]
        known = {name: compose(name) for name in self.bank.adapters} | compositions(self.config, self.bank)
        for name, _, _ in parts:
            if name not in known:
                there = [*known, BASE_LABEL]
                raise ConfigError(f"no adapter {name!r}; there are: {', '.join(there)}{nearest(name, there)}")
        try:
            return compose(*((one, w * float(weight or 1)) for name, _, weight in parts for one, w in known[name]))
        except ValueError:
            raise ConfigError(f"adapter {adapter!r}: a weight must be a number, as in a:0.5+b:0.5") from None

    def evaluate(
        self,
        *,
        adapters: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        progress: Progress = SILENT,
    ) -> list[Result]:
        """Measure tasks with the base and their own adapters, or with the base and those given; kept in the run."""
        chosen = self.tasks(names)
        others = {name: self.composition(name) for name in adapters or ()}
        items = measure_items(self.bank, chosen, compositions(self.config, self.bank), others or None)
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
        adapter: str | None = None,
        *,
        task: str | None = None,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        progress: Progress = SILENT,
    ) -> list[str]:
        """Answers to texts, or to the columns of the task's template, by an adapter (see ``composition``).

        adapter: None lets the router choose one for each text; where it abstains the base answers.
        task: whose prompt is used; the adapter's own by default. Without one the text goes through the chat
        template as it is.
        """
        if adapter is None:
            return self._routed(inputs, self.route(inputs), task, max_new_tokens, sampling, progress)
        composition = self.composition(adapter)
        owners = (self.config.owners.get(name) for name, _ in composition)
        asked = self.config.task(task) if task else next(filter(None, owners), None)
        return answer(
            self.bank, inputs, composition, asked.task if asked else TaskSettings(), max_new_tokens=max_new_tokens,
            sampling=sampling, progress=progress,
        )  # fmt: skip

    @cached_property
    def router(self) -> Router:
        """What chooses an adapter by a text. Raises RunError where the run has none."""
        if not self.folder.router.is_dir():
            raise RunError(f"{self.folder.path} has no router; name an adapter, or fit one: tenfold route fit RUN")
        return route.load(self.folder.router, bank=self.bank)

    def route(self, inputs: Sequence[str | Mapping[str, str]], *, abstain: bool = True) -> list[Decision]:
        """Which task's adapter each text, or set of columns, needs; None is the base."""
        return self.router.decide([rows.asked(one) for one in inputs], abstain)

    def mixture(self, given: str | Mapping[str, str], top: int = 2, temperature: float = 1.0) -> Composition:
        """The adapters of the ``top`` most probable tasks, weighted by probability, active in one pass."""
        weights = self.router.mixture(rows.asked(given), top, temperature)
        return outcome.mix(weights, compositions(self.config, self.bank))

    def merge(self, given: str | Mapping[str, str], name: str, recipe: Recipe, top: int = 2) -> Composition:
        """The same made into one LoRA adapter of that name in the bank, by a recipe of ``combining``."""
        combine(self.bank, name, self.mixture(given, top), recipe)
        return compose(name)

    def _routed(
        self,
        inputs: Sequence[str | Mapping[str, str]],
        decisions: Sequence[Decision],
        task: str | None,
        max_new_tokens: int | None,
        sampling: Sampling | None,
        progress: Progress,
    ) -> list[str]:
        """The answers to inputs by what was decided for each, those of one adapter together."""
        found: dict[int, str] = {}
        for name in dict.fromkeys(one.adapter for one in decisions):
            places = [place for place, one in enumerate(decisions) if one.adapter == name]
            owner = task or name
            template = self.config.task(owner).task if owner else None
            given = [spread(inputs[place], template) if template else rows.asked(inputs[place]) for place in places]
            answers = self.generate(
                given,
                name or BASE_LABEL,
                task=task,
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                progress=progress,
            )
            found |= zip(places, answers, strict=True)
        return [found[place] for place in range(len(inputs))]


def answer(
    bank: Bank,
    inputs: Sequence[str | Mapping[str, str]],
    composition: Composition,
    settings: TaskSettings,
    *,
    max_new_tokens: int | None = None,
    sampling: Sampling | None = None,
    stop: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> list[str]:
    """Answers to texts, or to the columns of a task's template; what is not said is the task's."""
    longest = (settings.max_new_tokens or MOST_NEW_TOKENS) if max_new_tokens is None else max_new_tokens
    stops = tuple(settings.stop if stop is None else stop)
    eos, choices = frozenset(end_of_turn(bank.base.tokenizer, bank.base.model)), tuple(settings.classes)
    prompts = [tasks.prompt_tokens(make_request(one, settings), bank.base.coding) for one in inputs]
    requests = [Request(p, composition, longest, sampling or Sampling(), stops, eos, choices) for p in prompts]
    return [completion.text for completion in Engine(bank).generate(requests, progress)]


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
    device, dtype = choose_device(config.device, config.dtype)
    loaded = base.load(
        name, family=family(config), device=device, dtype=dtype, quantization=_quantization(config), progress=progress
    )
    if config.model_type not in (None, type(loaded.model).__name__):
        raise ConfigError(f"model_type: {config.model_type!r} given, but {name} is a {type(loaded.model).__name__}")
    return loaded


def family(config: Config) -> base.Family | None:
    """What the base is for, where the config says it."""
    return None if config.family == "auto" else config.family


def choose_device(device: str, dtype: str = "auto") -> tuple[str, torch.dtype]:
    """Where a base stands and in which float type; ``auto`` is a GPU where there is one, in bfloat16 if it has it.

    Raises ConfigError for another float type.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype not in ("auto", *DTYPES):
        raise ConfigError(f"dtype: {dtype!r} given; must be auto, {', '.join(DTYPES)}")
    if dtype == "auto":
        dtype = "bfloat16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "float32"
    return device, DTYPES[dtype]


def _quantization(config: Config) -> base.Quantization | None:
    kind, compute = config.base_quantization, config.bnb_4bit_compute_dtype
    return kind and base.Quantization(kind, config.bnb_4bit_use_double_quant, DTYPES.get(compute))


def load_tasks(config: Config, names: Sequence[str] | None = None) -> list[Task]:
    """Tasks of a config with their rows; errors say where in the config the key stands."""
    with config.locating():
        return [tasks.load(name, config.task(name).task, config.folder) for name in names or config.tasks]


def compositions(config: Config, bank: Bank) -> dict[str, Composition]:
    """What each task means by the task's name: all of its adapters, where these are in the bank."""
    return {
        name: task.composition
        for name, task in config.tasks.items()
        if task.adapters and task.adapters.keys() <= bank.adapters.keys()
    }


def measure_items(
    bank: Bank,
    chosen: Sequence[Task],
    owned: Mapping[str, Composition],
    others: Mapping[str, Composition] | None = None,
) -> list[Item]:
    """Every evaluation set with the base and with the task's own adapters where it has any, or with the others.

    A base for classification is measured where it has a head with the task's number of classes.
    """
    items = []
    for task in chosen:
        own = {task.name: owned[task.name]} if task.name in owned else {}
        for split in task.eval_sets:
            plain = {BASE_LABEL: BASE} if bank.base.answers(len(task.settings.classes)) else {}
            for label, composition in {**plain, **(own if others is None else others)}.items():
                items.append(Item(task, split, label, composition))
    return items


def as_full(sets: Sequence[CaseSet]) -> list[CaseSet]:
    """Cases of a base that was trained itself, told apart from those of the base as it came."""
    return [replace(one, adapter=FULL, composition=((FULL, 1.0),)) if not one.composition else one for one in sets]


def spread(given: str | Mapping[str, str], settings: TaskSettings) -> str | Mapping[str, str]:
    """A text of as many lines as the task's template has columns as those columns; anything else as it is.

    So is what the router learnt from rows of several columns: each on lines of its own.
    """
    columns = Template.parse(settings.prompt).columns if settings.prompt is not None else ()
    lines = given.split("\n") if isinstance(given, str) else []
    return dict(zip(columns, lines, strict=True)) if len(lines) == len(columns) > 1 else given


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
