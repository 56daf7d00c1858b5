"""A YAML file as plain values that remember where each stands.

Scalars are read as YAML 1.2 has them: ``no`` and ``on`` are text, ``5e-4`` is a number. Keys are text.
Duplicate keys, unknown tags and aliases that grow without end are errors.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tenfold.errors import ConfigError

Path = tuple[str, ...]
PREFIX = "tag:yaml.org,2002:"
MERGE = PREFIX + "merge"
MOST_NODES = 100_000


class Loader(yaml.SafeLoader):
    """PyYAML's scanner with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as PyYAML has it)


FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
SCALARS = {
    "bool": (re.compile("(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    "null": (re.compile("(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "int": (re.compile("[-+]?(0|[1-9][0-9]*)$"), "-+0123456789"),
    "float": (FLOAT, "-+.0123456789"),
    "merge": (re.compile("<<$"), "<"),
}
for _name, (_pattern, _first) in SCALARS.items():
    Loader.add_implicit_resolver(PREFIX + _name, _pattern, list(_first))

READ: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": int,
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
    "str": str,
}


@dataclass
class Document:
    """Values by key; ``places`` says for each key path where it stands: (order, "demo.yaml:12")."""

    name: str
    values: dict[str, Any]
    places: dict[Path, tuple[int, str]] = field(default_factory=dict)
    text: str = ""

    def place(self, path: Path) -> tuple[int, str]:
        """Where a key stands, or the nearest key around it that stands anywhere."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (0, self.name))


def read(text: str, name: str) -> Document:
    """Parse one YAML document whose top is a mapping (or nothing). Raises ConfigError with the line."""
    values, places = _parse(text, name)
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{name}: must be keys with values, not {type(values).__name__}")
    return Document(name, values or {}, places, text)


def value(text: str, name: str) -> Any:
    """One YAML value, e.g. what follows ``=`` in ``--set``."""
    return _parse(text, name)[0]


def _parse(text: str, name: str) -> tuple[Any, dict[Path, tuple[int, str]]]:
    reader = _Reader(name)
    try:
        root = yaml.compose(text, Loader=Loader)
        return (None if root is None else reader.value(root, ())), reader.places
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{name}{line}: not YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply") from None
    except (yaml.YAMLError, OverflowError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{name}: not YAML: {' '.join(str(error).split())}") from None


class _Reader:
    """Walks the node tree of one document."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Path, tuple[int, str]] = {}
        self.count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        self.visit(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, str(i))) for i, item in enumerate(node.value)]
        return self.scalar(node)

    def visit(self, node: yaml.Node) -> None:
        self.count += 1
        if self.count > MOST_NODES:
            raise self.error(node, "too large; does an alias contain itself?")

    def scalar(self, node: yaml.Node) -> Any:
        tag = node.tag.removeprefix(PREFIX)
        if tag not in READ:
            raise self.error(node, f"the tag {node.tag[:60]!r} is not allowed; write plain text or a number")
        try:
            return READ[tag](node.value)
        except (KeyError, ValueError):
            raise self.error(node, f"{node.value[:40]!r} is no {tag}") from None

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self.visit(node)
        merged: dict[str, Any] = {}
        for part in self.merges(node):
            merged = {**self.mapping(part, path), **merged}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag != MERGE:
                key = self.key(key_node)
                here = (*path, key)
                if key in own:
                    first = self.places[here][1]
                    raise self.error(key_node, f"{'.'.join(here)}: given twice, first at {first}")
                self.places[here] = (key_node.start_mark.line + 1, self.at(key_node))
                own[key] = self.value(value_node, here)
        return {**merged, **own}

    def merges(self, node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
        """The mappings behind ``<<``."""
        for key, given in node.value:
            if key.tag == MERGE:
                for part in given.value if isinstance(given, yaml.SequenceNode) else [given]:
                    if not isinstance(part, yaml.MappingNode):
                        raise self.error(key, "<< needs a mapping")
                    yield part

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, "a key must be text")
        return node.value.lower() if node.tag == PREFIX + "bool" else str(node.value)

    def at(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"

    def error(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self.at(node)}: {message}")
