"""What plots and tables call a trial: an FFF as its research does, ``sizes - layers - activations - injection``."""

from collections.abc import Mapping, Sequence
from typing import Any

from tenfold.adapters import dora, fff, lora
from tenfold.config import ResolvedTask
from tenfold.config.resolved import TaskAdapter
from tenfold.sweep.points import Point


def kind_of(task: ResolvedTask) -> str:
    """The task's kinds, joined as ``adapter`` has them."""
    return "+".join(own.kind for own in task.adapters.values())


def describe(task: ResolvedTask) -> str:
    """A task's adapters: ``lora r=16 a=8``, ``[128, 128] - 2 - [silu] - up_proj``, both with a comma between."""
    return ", ".join(_one(own) for own in task.adapters.values())


def label(task: ResolvedTask, point: Point, seeds: Sequence[int]) -> str:
    """A trial in a few words: its entry, its adapters, and what else of its settings they don't say."""
    said = {key for own in task.adapters.values() for key in type(own.settings).model_fields}
    shown = [f"{_short(key)}={_value(value)}" for key, value in point.settings.items() if _left(key, said)]
    seed = [f"seed={point.seed}"] if len(seeds) > 1 else []
    group = f"{point.group}: " if point.group else ""
    return group + ", ".join([describe(task), *shown, *seed])


def _left(key: str, said: set[str]) -> bool:
    return key != "adapter" and (key not in said or key.rpartition(".")[2] not in SHOWN)


SHOWN = {"lora_r", "lora_alpha", "fff_blocks", "fff_intermediate_size", "fff_activation", "fff_target", "fff_layers"}
"""Settings of kinds that their description has."""


def _one(own: TaskAdapter) -> str:
    settings = own.settings
    if isinstance(settings, fff.Config):
        return _fff(settings)
    if isinstance(settings, lora.Config | dora.Config):
        return f"{own.kind} r={settings.lora_r} a={settings.lora_alpha:g}"
    return own.kind


def _fff(settings: fff.Config) -> str:
    names = list(dict.fromkeys(settings.activations)) if len(set(settings.activations)) == 1 else settings.activations
    target = settings.fff_target
    where = "mlp" if target is None else target if isinstance(target, str) else "+".join(target)
    layers = f" (layers {_value(settings.fff_layers)})" if settings.fff_layers is not None else ""
    return f"{settings.widths} - {len(settings.widths)} - [{', '.join(names)}] - {where}{layers}"


def _short(key: str) -> str:
    return "lr" if key == "learning_rate" else key


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return str(dict(value))
    return str(value)
