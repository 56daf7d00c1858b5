"""Which keys may stand where: at the top, in a task, or nowhere yet."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from tenfold import plugins
from tenfold.config.document import Path
from tenfold.config.problems import Problem, shown
from tenfold.config.settings import RunSettings, TrainingSettings
from tenfold.errors import nearest
from tenfold.tasks.settings import TEMPLATE_NAMES, TaskSettings

KINDS = "tenfold.adapters"
METRICS = "tenfold.evaluate.metrics"
FULL = "full"  # no adapter: the base itself is trained
JOIN = "+"
QLORA = "qlora"  # lora on a base in nf4

# Settings of a task that may also stand at the top, for every task that doesn't say otherwise.
SHARED = (
    "sequence_len", "val_set_size", "train_on_inputs", "prompt_style",
    "max_rows", "eval_max_rows", "max_new_tokens",
)  # fmt: skip


@functools.cache
def kind_settings() -> dict[str, type[BaseModel]]:
    """The settings of every kind of adapter."""
    return {name: plugins.find(KINDS, name).Config for name in plugins.names(KINDS)}


def adapter_keys() -> set[str]:
    """The settings of all kinds together."""
    return {key for model in kind_settings().values() for key in model.model_fields}


def task_keys() -> set[str]:
    """What may stand in a task."""
    own = {*TaskSettings.model_fields, *TEMPLATE_NAMES, "adapter"}
    return own | set(TrainingSettings.model_fields) | adapter_keys()


def top_keys() -> set[str]:
    """What may stand at the top."""
    own = {*RunSettings.model_fields, *TrainingSettings.model_fields, *SHARED, "tasks"}
    return own | adapter_keys()


def strangers(values: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """The keys that may not stand here."""
    allowed, elsewhere = (task_keys(), top_keys()) if path else (top_keys(), task_keys())
    for key in values:
        if key in allowed:
            continue
        elif key in elsewhere and path:
            yield Problem((*path, key), "is set once for the whole run, at the top, not in a task")
        elif key in elsewhere:
            yield Problem((key,), f"belongs to a task: tasks.NAME.{key}")
        else:
            known = sorted(allowed)
            hint = nearest(key, known) or f"; known: {', '.join(known)}"
            yield Problem((*path, key), f"unknown key{hint}")


def split(adapter: str) -> list[str]:
    """The kinds in the value of ``adapter``: two in ``lora+fff``, none in ``full``."""
    return [] if adapter == FULL else adapter.split(JOIN)


def kinds_problem(adapter: Any) -> str | None:
    """What is wrong with the value of ``adapter``."""
    if adapter == QLORA:
        return "'qlora' given, but the base is quantised for all tasks; say it at the top"
    kinds, known = split(adapter) if isinstance(adapter, str) else [adapter], [*kind_settings(), FULL, QLORA]
    for kind in kinds:
        if kind not in known:
            allowed = f"{', '.join(known)}, or kinds joined by {JOIN} as in lora+fff"
            return f"{shown(adapter)} given; must be {allowed}{nearest(str(kind), known)}"
        if kind in (FULL, QLORA):
            instead = "; give lora and base_quantization: nf4" if kind == QLORA else ""
            return f"{shown(adapter)} given, but {kind} stands alone{instead}"
    twice = repeated(kinds)
    return f"{shown(adapter)} given, which says {twice} twice; each kind at most once" if twice else None


def repeated(kinds: Sequence[str]) -> str | None:
    """The first kind that comes again."""
    return next((kind for place, kind in enumerate(kinds) if kind in kinds[:place]), None)


def metric_problem(name: str) -> str | None:
    """What is wrong with the name of a metric; what follows its colon is the metric's own business."""
    known = plugins.names(METRICS, ("Metric",))
    kind = name.partition(":")[0]
    return None if kind in known else f"{shown(name)} given; must be of {', '.join(known)}{nearest(kind, known)}"
