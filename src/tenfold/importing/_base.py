"""A config while it is translated: what was given, what it becomes, and what has no counterpart."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenfold.config import RunSettings

OPTIMIZERS = {
    **{name: name for name in ("adamw_torch", "adamw_torch_fused", "adafactor", "adamw_8bit", "adamw_bnb_8bit")},
    "adamw_hf": "adamw_torch", "adamw_apex_fused": "adamw_torch_fused", "paged_adamw": "adamw_torch",
    "paged_adamw_32bit": "adamw_torch", "paged_adamw_8bit": "adamw_8bit",
}  # fmt: skip
SCHEDULERS = {
    **{name: name for name in ("cosine", "linear", "constant")},
    "constant_with_warmup": "constant", "cosine_with_min_lr": "cosine",
}  # fmt: skip
NO_SETTING = "tenfold has no such setting"
PLAIN = re.compile(r"[\w.]+")  # a layer's name, not a pattern of names
TRACKED = ("wandb_project", "wandb_entity", "wandb_name")
TRACKERS = {"wandb", "tensorboard", "trackio", "none"}
RESERVED = ("base", "router", "mixture")


@dataclass
class Translation:
    """given: the other project's settings; what is taken is gone from it. folder: where its file lies.

    target: the folder of the file that comes out, None where it is not known. settings: tenfold's. notes: a sentence
    for each key that has no counterpart, or only a near one.
    """

    given: dict[str, Any]
    folder: Path
    target: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, the default where it is not given or empty."""
        value = self.given.pop(key, None)
        return default if value is None or value == "" else value

    def forget(self, *beginnings: str) -> None:
        """Leave out settings of what is not there, by what their names begin with."""
        for key in [key for key in self.given if key.startswith(beginnings)]:
            del self.given[key]

    def put(self, key: str, value: Any) -> None:
        """A setting of tenfold's, where there is a value."""
        if value is not None:
            self.settings[key] = value

    def rename(self, names: Mapping[str, str]) -> None:
        """Settings that mean the same, by their name there and here."""
        for theirs, ours in names.items():
            self.put(ours, self.take(theirs))

    def note(self, key: str, reason: str) -> None:
        """Say of a key that it has no counterpart, and why, or what stands for it."""
        self.notes.append(f"{key}: {reason}")

    def choose(self, theirs: str, ours: str, known: Mapping[str, str], default: str) -> None:
        """A name that has another one here; the default stands for one that has none."""
        name = str(self.take(theirs, default))
        self.settings[ours] = known.get(name, default)
        if self.settings[ours] != name:
            self.note(theirs, f"{name!r} is {self.settings[ours]!r} here")

    def switch_precision(self, bfloat16: Any, float16: Any) -> None:
        """The float type of the base, from switches for mixed precision."""
        if float16 is True:
            self.put("dtype", "float16")
        elif bfloat16 is True:
            self.put("dtype", "bfloat16")

    def local(self, name: str, *folders: Path) -> str | None:
        """A file or folder that is there, as the target is to name it; None where there is none."""
        for folder in (*folders, Path(), self.folder):
            place = (folder / Path(name).expanduser()).resolve()
            if place.exists():
                inside = self.target is not None and place.is_relative_to(self.target)
                return f"./{place.relative_to(self.target)}" if inside and self.target else str(place)
        return None

    def base_model(self, key: str) -> None:
        """The base: a folder where there is one of that name, else a hub's."""
        name = self.take(key)
        if name is not None:
            self.put("base_model", self.local(str(name)) or str(name))

    def add_task(self, name: str, settings: Mapping[str, Any]) -> None:
        """One more task, under a name that is free; several are trained as one adapter on all."""
        tasks = self.settings.setdefault("tasks", {})
        stem = re.sub(r"\W+", "-", Path(name).name.partition(".")[0]).strip("-") or "task"
        names = [stem, *(f"{stem}-{number}" for number in range(2, len(tasks) + 3))]
        tasks[next(one for one in names if one not in tasks and one not in RESERVED)] = dict(settings)
        if len(tasks) > 1:
            self.settings["schedule"] = "mixture"

    def finish(self, reasons: Sequence[tuple[str, str]]) -> None:
        """A note for each key that is left and does anything. reasons: patterns of keys, each with why."""
        for key, value in self.given.items():
            if key in RunSettings.model_fields and _tracks(key, value):
                self.put(key, value or None)
            elif value not in (None, False, "", [], {}):
                found = (why for pattern, why in reasons if re.fullmatch(pattern, key))
                self.note(key, next(found, NO_SETTING))
        self.given.clear()

    def target_layers(self, key: str) -> None:
        """The layers of an adapter: names in a list or with commas between them, or all linear ones."""
        given = self.take(key, [])
        names = [one.strip() for one in given.split(",")] if isinstance(given, str) else [str(one) for one in given]
        if names in (["all"], ["all-linear"]):
            self.put("lora_target_linear", True)
        elif all(PLAIN.fullmatch(name) for name in names):
            self.put("lora_target_modules", names or None)
        else:
            self.note(
                key, f"{given!r} is a pattern; name the layers in lora_target_modules (all linear ones are taken)"
            )


def _tracks(key: str, value: Any) -> bool:
    """Whether a setting of trackers means the same here."""
    names = {value} if isinstance(value, str) else set(value) if isinstance(value, list) else {None}
    return key in TRACKED or (key == "report_to" and names <= TRACKERS)
