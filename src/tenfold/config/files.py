"""The files that a config names, relative to the folder that it lies in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tenfold.config.problems import Problem
from tenfold.errors import nearest
from tenfold.tasks.settings import SourceSettings, TaskSettings

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # synthetic:dates?rows=800 is no file; C:\rows.csv is one
SOURCES = ("eval_path", "validation_path")


def locate(text: str, folder: Path) -> Path:
    """Where a path of the config is."""
    return folder / Path(text).expanduser()


def base_model(given: str, folder: Path) -> str:
    """A base model that is a folder, seen from the config, as an absolute path; any other name as it is."""
    here = locate(given, folder)
    return str(here.resolve()) if given.startswith((".", "~")) or here.is_dir() else given


def missing(name: str, task: TaskSettings, folder: Path) -> Iterator[Problem]:
    """The files and folders of a task that are not there."""
    for keys, source in _sources(task):
        if source.path and not SCHEME.match(source.path) and not locate(source.path, folder).is_file():
            yield Problem(("tasks", name, *keys), _absent("file", source.path, folder))
    if task.adapter_path and not locate(task.adapter_path, folder).is_dir():
        yield Problem(("tasks", name, "adapter_path"), _absent("folder", task.adapter_path, folder))


def _sources(task: TaskSettings) -> Iterator[tuple[tuple[str, ...], SourceSettings]]:
    yield ("path",), task
    for key in SOURCES:
        if source := getattr(task, key):
            yield (key,), source
    for name, source in task.eval_sets.items():
        yield ("eval_sets", name), source


def _absent(what: str, given: str, folder: Path) -> str:
    place = locate(given, folder)
    there = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
    return f"no such {what}: {place}{nearest(place.name, there)}"


def absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of a task as JSON values, with every path in them absolute."""
    moved = dict(values)
    for key in ("path", "adapter_path", *SOURCES):
        if key in values:
            moved[key] = _absolute(values[key], folder)
    if "eval_sets" in values:
        moved["eval_sets"] = {name: _absolute(source, folder) for name, source in values["eval_sets"].items()}
    return moved


def _absolute(given: Any, folder: Path) -> Any:
    if isinstance(given, dict):
        return given | {"path": _absolute(given["path"], folder)} if given.get("path") else given
    return str(locate(given, folder).resolve()) if given and not SCHEME.match(given) else given


def inline_targets(values: dict[str, Any], path: tuple[str, ...], folder: Path) -> Iterator[Problem]:
    """Replace a text file behind ``*_target_modules`` by the names in it, one a line, # begins a comment."""
    for key, given in values.items():
        if not key.endswith("_target_modules") or not isinstance(given, str):
            continue
        place = locate(given, folder)
        if place.is_file():
            lines = (line.partition("#")[0].strip() for line in place.read_text("utf-8").splitlines())
            values[key] = [line for line in lines if line]
        elif "/" in given or given.endswith(".txt"):
            yield Problem((*path, key), _absent("file", given, folder))
        else:
            values[key] = [given]
