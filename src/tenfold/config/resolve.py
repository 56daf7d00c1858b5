"""From a document to the settings of the run and of each task, or to everything that is wrong with it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tenfold.config import files, keys, layers, orders
from tenfold.config.document import Document
from tenfold.config.layers import Layer
from tenfold.config.problems import Problem, check, shown
from tenfold.config.resolved import Resolved, ResolvedTask, TaskAdapter, adapter_names
from tenfold.config.settings import RunSettings, TrainingSettings
from tenfold.tasks.settings import TEMPLATE_NAMES, TaskSettings

TASK_NAME = re.compile(r"\w[\w-]*")
DEFAULT_KIND = RunSettings.model_fields["adapter"].default


def resolve(document: Document, folder: Path, require_files: bool) -> Resolved:
    """Raises ConfigError with the first problem by line and the keys of the others."""
    work = _Resolution(document, folder)
    resolved = work.resolve()
    if require_files and resolved:
        work.problems += files.missing_text(resolved.run.general_text)
        for name, task in resolved.tasks.items():
            given = task.adapter_paths.values() if task.task.adapter_path else ()
            work.problems += files.missing(name, task.task, given, folder)
        owned = {task.label: list(task.adapter_paths.values()) for task in resolved.tasks.values() if task.source}
        work.problems += files.missing_loras(resolved.run.loras, owned)
    check(work.problems, document)
    assert resolved, "nothing resolved, yet no problem found"
    return resolved


@dataclass
class _Resolution:
    document: Document
    folder: Path
    problems: list[Problem] = field(default_factory=list)
    used: set[str] = field(default_factory=set)  # kinds
    founding: str | None = None  # the task that trains the base first

    def resolve(self) -> Resolved | None:
        values = self.document.values
        self.problems += keys.strangers(values, ())
        self.problems += files.inline_targets(values, (), self.folder)
        if isinstance(values.get("base_model"), str):
            values["base_model"] = files.base_model(values["base_model"], self.folder)
        if isinstance(values.get("general_text"), str):
            values["general_text"] = str(files.locate(values["general_text"], self.folder).resolve())
        if values.get("adapter") == keys.QLORA:
            values["adapter"] = "lora"
            values["base_quantization"] = values.get("base_quantization") or "nf4"
        files.absolute_loras(values, self.folder)
        top = layers.top(values)
        run = top.build(RunSettings, RunSettings.model_fields, self.problems)
        training = top.build(TrainingSettings, TrainingSettings.model_fields, self.problems)
        tasks = self.tasks(top)
        adapters = self.adapters(top)
        if run and not self.problems:
            self.problems += orders.problems(run, tasks, values)
        return Resolved(run, training, adapters, tasks) if run and training and not self.problems else None

    def tasks(self, top: Layer) -> dict[str, ResolvedTask]:
        given = top.values.get("tasks")
        if given is not None and not isinstance(given, dict):
            self.problem(("tasks",), f"{shown(given)} given; must be the settings of each task by its name")
        elif not given:
            self.problem(("tasks",), "required: at least one task, as in tasks: {dates: {path: dates.csv}}")
        else:
            self.founding = orders.founding(top.values)
            found = {name: self.task(name, raw, top) for name, raw in given.items()}
            return {name: task for name, task in found.items() if task}
        return {}

    def task(self, name: str, raw: Any, top: Layer) -> ResolvedTask | None:
        path = ("tasks", name)
        if not TASK_NAME.fullmatch(name) or name in ("base", "router"):
            self.problem(path, "a task's name is made of letters, digits, _ and -, and is not 'base' or 'router'")
        if raw is not None and not isinstance(raw, dict):
            self.problem(path, f"{shown(raw)} given; must be keys with values, e.g. path: rows.csv")
            return None
        values = raw or {}
        self.problems += keys.strangers(values, path)
        self.problems += files.inline_targets(values, path, self.folder)
        inherited = {"adapter", *keys.SHARED, *TrainingSettings.model_fields, *keys.adapter_keys()}
        return self.resolve_task(name, layers.over(top, path, values, inherited))

    def resolve_task(self, name: str, layer: Layer) -> ResolvedTask | None:
        settings = layer.build(TaskSettings, (*TaskSettings.model_fields, *TEMPLATE_NAMES), self.problems)
        if settings and not (settings.path or settings.dataset_name) and not _only_evaluated(settings):
            self.problem(layer.path, "needs path or dataset_name, the source of its rows")
        for message in filter(None, map(keys.metric_problem, settings.metrics if settings else ())):
            self.problem((*layer.path, "metrics"), message)
        training = layer.build(TrainingSettings, TrainingSettings.model_fields, self.problems)
        given = layer.values.get("adapter", DEFAULT_KIND)
        if wrong := keys.kinds_problem(given):
            self.problem(layer.origin["adapter"], wrong)
            return None
        given = keys.FULL if name == self.founding and "adapter" not in layer.own else given
        label = orders.MIXTURE if self.document.values.get("schedule") == "mixture" else name
        adapters = self.task_adapters(label, given, layer)
        if not settings or not training:
            return None
        loras = self.document.values.get("loras")
        lora = loras.get(label) if isinstance(loras, dict) else None
        return ResolvedTask(name, settings, training, adapters, label, settings.adapter_path or lora)

    def task_adapters(self, label: str, given: str, layer: Layer) -> dict[str, TaskAdapter]:
        """A task's adapters by name; those with problems are left out."""
        kinds = keys.split(given)
        models = {kind: keys.kind_settings()[kind] for kind in kinds}
        self.used |= models.keys()
        self.check_kinds(given, models, layer)
        built = {kind: layer.build(model, model.model_fields, self.problems) for kind, model in models.items()}
        named = zip(adapter_names(label, kinds), built.items(), strict=True)
        return {own: TaskAdapter(kind, settings) for own, (kind, settings) in named if settings}

    def adapters(self, top: Layer) -> dict[str, BaseModel]:
        """What the top says for the kinds that are used; a setting that none of them has is a problem."""
        used = {kind: model for kind, model in keys.kind_settings().items() if kind in self.used}
        known = {key for model in used.values() for key in model.model_fields}
        for key in sorted(keys.adapter_keys() & set(top.values) - known) if not self.problems else ():
            self.problem((key,), f"is a setting of {_owners(key)}, and no task has such an adapter")
        built = {kind: top.build(model, model.model_fields, self.problems) for kind, model in used.items()}
        return {kind: settings for kind, settings in built.items() if settings}

    def check_kinds(self, given: str, models: dict[str, type[BaseModel]], layer: Layer) -> None:
        """A task's own settings must be of its own kinds."""
        foreign = keys.adapter_keys() - {key for model in models.values() for key in model.model_fields}
        for key in sorted(foreign & set(layer.own)):
            self.problem(layer.origin[key], f"is a setting of {_owners(key)}, but the adapter is {given}")

    def problem(self, path: tuple[str, ...], message: str) -> None:
        self.problems.append(Problem(path, message))


def _only_evaluated(settings: TaskSettings) -> bool:
    return not settings.train and bool(settings.eval_path or settings.eval_sets)


def _owners(key: str) -> str:
    return ", ".join(kind for kind, model in keys.kind_settings().items() if key in model.model_fields)
