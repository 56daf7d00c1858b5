"""A run, opened for use: its base, its adapters in a bank, its tasks; measured and asked."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from tenfold import base, evaluate, route, store, tasks
from tenfold.adapters import BASE, Bank, Composition, compose, copies
from tenfold.adapters.combining import Recipe, combine
from tenfold.base.chat import end_of_turn
from tenfold.config import Config, ResolvedTask, active
from tenfold.errors import ConfigError, RunError, nearest
from tenfold.evaluate import BASE_LABEL, CaseSet, Item, Result
from tenfold.evaluate.cases import case_file, read_cases
from tenfold.evaluate.metrics import KL
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
        return mix(adapter, {name: compose(name) for name in self.bank.adapters} | compositions(self.config, self.bank))

    def evaluate(
        self,
        *,
        adapters: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        progress: Progress = SILENT,
    ) -> list[Result]:
        """Measure tasks with the base and their own adapters, or with the base and those given; kept in the run."""
        given = {name: self.composition(name) for name in adapters or ()}
        items = measure_items(self.tasks(names), self.wanted(given))
        sets = measure(self.bank, items, self.config, progress, loss=self.staged)
        if self.folder.base.is_dir():
            sets = self._before(sets) + as_full(sets)
        return evaluate.save(self.folder.path, sets, seed=self.config.seed)

    @property
    def staged(self) -> bool:
        """Whether its stages were measured."""
        return any(one.stage is not None for one in evaluate.read_results(self.folder.path / "results.json"))

    def wanted(self, given: Mapping[str, Composition]) -> Callable[[Task], dict[str, Composition]]:
        """What to measure a task with: the base, and what is given or else its own adapters."""
        labels, based, heads = present(self.config, self.bank), self.folder.base.is_dir(), bool(self.bank.base.heads)

        def wanted(task: Task) -> dict[str, Composition]:
            own = labelled(self.config, self.bank, task, labels, based=based)
            others = {name: active.on(self.config.task(task.name), one, heads) for name, one in given.items()}
            plain = {name: one for name, one in own.items() if name in (BASE_LABEL, FULL)}
            return {**plain, **others} if given else own

        return wanted

    def _before(self, sets: Sequence[CaseSet]) -> list[CaseSet]:
        """The same cases as the base answered them before it was trained, where the run kept them."""
        found = []
        for one in {(one.task, one.split): one for one in sets}.values():
            path = case_file(self.folder.cases, one.task, BASE_LABEL)
            cases = [case for case in read_cases(path) if case.split == one.split] if path.exists() else []
            if len(cases) == len(one.cases):
                measures = [measure for measure in one.measures if measure is not KL]
                found.append(replace(one, adapter=BASE_LABEL, composition=BASE, measures=measures, cases=cases))
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
        asked = self.config.task(task) if task else self._asked(adapter, composition)
        if asked:
            composition = active.on(asked, composition, bool(self.bank.base.heads))
        return answer(
            self.bank, inputs, composition, asked.task if asked else TaskSettings(), max_new_tokens=max_new_tokens,
            sampling=sampling, progress=progress,
        )  # fmt: skip

    def _asked(self, adapter: str, composition: Composition) -> ResolvedTask | None:
        """The task whose prompt is meant by an adapter: the first that is named, or the only one that it is of."""
        first = adapter.partition("+")[0].partition(":")[0]
        if first in self.config.tasks:
            return self.config.task(first)
        users = next((found for name, _ in composition if (found := self.config.users(name))), [])
        if len(users) > 1:
            there = ", ".join(task.name for task in users)
            raise ConfigError(f"{adapter!r} answers several tasks; name one of them as the task: {there}")
        return users[0] if users else None

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


def mix(adapter: str, known: Mapping[str, Composition]) -> Composition:
    """What ``base``, a name, or ``a:0.5+b:0.5`` means, where each name of ``known`` means a composition.

    Raises ConfigError for a name that is not known and a weight that is no finite number.
    """
    if adapter == BASE_LABEL:
        return BASE
    parts = [part.partition(":") for part in adapter.split("+")]
    for name, _, _ in parts:
        if name not in known:
            there = [*known, BASE_LABEL]
            raise ConfigError(f"no adapter {name!r}; there are: {', '.join(there)}{nearest(name, there)}")
    try:
        weights = [float(weight or 1) for _, _, weight in parts]
    except ValueError:
        weights = [math.nan]
    if not all(map(math.isfinite, weights)):
        raise ConfigError(f"adapter {adapter!r}: a weight must be a number, as in a:0.5+b:0.5")
    return compose(*((one, w * x) for (name, _, _), x in zip(parts, weights, strict=True) for one, w in known[name]))


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
    if config.seeds:
        there = ", ".join(str(folder.path / f"seed-{seed}") for seed in config.seeds)
        raise RunError(f"{folder.path} holds a run for each seed; name one of them: {there}")
    trained = folder.base.is_dir()
    bank = Bank(load_base(config, str(folder.base.resolve()) if trained else config.base_model, progress))
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


def measure(
    bank: Bank, items: Sequence[Item], config: Config, progress: Progress = SILENT, *, loss: bool = False
) -> list[CaseSet]:
    """The judged cases of every item, and what its composition does to the base beyond its task."""
    sets = evaluate.evaluate(bank, items, loss=loss, progress=progress)
    tasks = {item.task.name: item.task for item in items}
    return evaluate.measure_drift(bank, sets, tasks.values(), read_texts(config), progress=progress)


def read_texts(config: Config) -> list[str]:
    """The general text on which every adapter is measured. Raises DataError."""
    return evaluate.read_texts(Path(config.general_text) if config.general_text else None)


def compositions(config: Config, bank: Bank) -> dict[str, Composition]:
    """What each task means by the task's name: all of its adapters, where these are in the bank."""
    found = {name: active.own(task, bool(bank.base.heads)) for name, task in config.tasks.items()}
    return {name: own for name, own in found.items() if all(part in bank.adapters for part, _ in own)}


def present(config: Config, bank: Bank) -> list[str]:
    """The labels of what is in a bank: tasks, a mixture, adapters that are no task's; in the order of training."""
    owned = compositions(config, bank)
    tasks = [task.label for name, task in config.tasks.items() if name in owned]
    others = [name for name in bank.adapters if not config.users(name)]
    order = dict.fromkeys([*active.start(config), *tasks, *others])
    return [label for label in order if label in {*tasks, *others}]


def labelled(
    config: Config, bank: Bank, task: Task, labels: Sequence[str], *, based: bool = False, cross: bool = False
) -> dict[str, Composition]:
    """What a task is measured with, by the label of its results.

    That is the base; its own adapter, or with ``cross`` every one there is; and all together, where they train stacked.
    labels: of what there is. based: whether the base was trained itself, and so is measured as ``full``.
    A base for classification is measured where what gives the answer has a head with the task's number of classes.
    """
    resolved, heads = config.task(task.name), bool(bank.base.heads)
    lives = {one.name for one in config.tasks.values() if one.full}
    single = [label for label in labels if label not in lives]
    found = {FULL: active.own(resolved, heads) if task.name in lives & set(labels) else BASE} if based else {}
    found = found or {BASE_LABEL: BASE}
    for label in single:
        if cross or label == resolved.label:
            found[label] = active.together(config, resolved, [label], heads)
    if config.schedule == "sequential" and config.composition == "stacked" and len(single) > 1:
        found["+".join(single)] = active.together(config, resolved, single, heads)
    return {label: one for label, one in found.items() if answers(bank, one, len(task.settings.classes))}


def answers(bank: Bank, composition: Composition, classes: int) -> bool:
    """Whether a composition has answers: for classification, whether its head has just so many classes."""
    if bank.base.family != "classification":
        return True
    sizes = [copies.classes(bank.base, bank.get(name).copies) for name, _ in composition]
    own = [size for size in sizes if size is not None]
    return own[-1] == classes if own else bank.base.answers(classes)


def measure_items(chosen: Sequence[Task], wanted: Callable[[Task], Mapping[str, Composition]]) -> list[Item]:
    """Every evaluation set of the tasks with everything that each is measured with."""
    return [
        Item(task, split, label, composition)
        for task in chosen
        for split in task.eval_sets
        for label, composition in wanted(task).items()
    ]


def as_full(sets: Sequence[CaseSet]) -> list[CaseSet]:
    """Cases of a base that was trained itself, told apart from those of the base as it came."""
    return [replace(one, composition=((FULL, 1.0),)) if not one.composition else one for one in sets]


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
