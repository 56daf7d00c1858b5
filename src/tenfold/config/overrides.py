"""``--set tasks.dates.lora_r=4``: values that replace what the YAML says."""

from collections.abc import Sequence
from typing import Any

from tenfold.config.document import Document, value
from tenfold.errors import ConfigError, nearest


def override(document: Document, settings: Sequence[str]) -> None:
    """Put each ``dotted.key=value`` (the value is YAML; empty unsets the key) into the document."""
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        path = tuple(part.strip() for part in dotted.split("."))
        where = f"--set {setting}" if len(setting) <= 60 else f"--set {dotted}"
        if not equals or not all(path):
            raise ConfigError(f"--set {setting!r}: must be key=value, e.g. --set tasks.dates.learning_rate=1e-4")
        put(document, path, value(text, where), where)


def put(document: Document, path: tuple[str, ...], given: Any, where: str) -> None:
    """Set one value. where: what errors call its place. Raises ConfigError where no key can stand."""
    inside: Any = document.values
    for depth, part in enumerate(path[:-1]):
        if inside.get(part) is None:
            _refuse_new_task(document, path[: depth + 1], where)
            inside[part] = {}
        inside = inside[part]
        if not isinstance(inside, dict):
            raise ConfigError(f"{where}: {'.'.join(path[: depth + 1])} is {inside!r}, which has no keys")
    inside[path[-1]] = given
    document.places = {p: at for p, at in document.places.items() if p[: len(path)] != path}
    document.places[path] = (0, where)


def _refuse_new_task(document: Document, path: tuple[str, ...], where: str) -> None:
    tasks = document.values.get("tasks")
    if len(path) == 2 and path[0] == "tasks" and isinstance(tasks, dict) and path[1] not in tasks:
        known = [str(name) for name in tasks]
        raise ConfigError(f"{where}: no task {path[1]!r}; tasks: {', '.join(known)}{nearest(path[1], known)}")
