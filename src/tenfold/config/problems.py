"""What is wrong with a config, gathered and said in one line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tenfold.config.document import Document, Path
from tenfold.errors import ConfigError, nearest
from tenfold.tasks.settings import SourceSettings

WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "keys with values",
    "model": "keys with values",
    "path": "a path",
}


@dataclass(frozen=True)
class Problem:
    """One mistake: the path of its key and what to say about it."""

    path: Path
    message: str


def check(problems: Sequence[Problem], document: Document) -> None:
    """Raise ConfigError if there are problems: the first by line, and the keys of the others."""
    if not problems:
        return
    unique: dict[Path, Problem] = {}
    for problem in problems:
        unique.setdefault(problem.path, problem)
    ranked = sorted(unique.values(), key=lambda problem: document.place(problem.path)[0])
    first, others = ranked[0], [".".join(problem.path) for problem in ranked[1:]]
    more = f" (and {len(others)} more: {', '.join(others)})" if others else ""
    key = ".".join(first.path)
    text = f"{document.place(first.path)[1]}: {key + ': ' if key else ''}{first.message}{more}"
    raise ConfigError(" ".join(text.split()))


def shown(given: Any) -> str:
    """A value as an error shows it: short, on one line."""
    text = "nothing" if given is None else repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def translate(
    error: ValidationError, values: Mapping[str, Any], keys: Mapping[str, Path], model: type[BaseModel]
) -> list[Problem]:
    """pydantic's complaints about a model's values, one for each place.

    keys: the path of each key; the path of "" is where all of them stand.
    """
    said: dict[Path, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        said.setdefault(_locate(details, values, keys), []).append(details)
    deepest = {at: e for at, e in said.items() if not any(at and o[: len(at)] == at != o for o in said)}
    return [Problem(at, _describe(details, model)) for at, details in deepest.items()]


def _locate(details: ErrorDetails, values: Mapping[str, Any], keys: Mapping[str, Path]) -> Path:
    """The path of what is wrong; pydantic's names for the members of a union are left out."""
    inside: Any = values
    path: list[str] = []
    for part in details["loc"]:
        try:
            inside = inside[part]
        except (KeyError, IndexError, TypeError):
            if details["type"] != "missing" or part != details["loc"][-1]:
                continue
        path.append(str(part))
    if not path:  # a complaint about several keys begins with one of them
        first = str(details.get("ctx", {}).get("error", "")).partition(" ")[0]
        return keys.get(first, keys[""])
    return (*keys.get(path[0], (*keys[""], path[0])), *path[1:])


def _describe(errors: list[ErrorDetails], model: type[BaseModel]) -> str:
    first = errors[0]
    field = model.model_fields.get(str(first["loc"][-1])) if first["loc"] else None
    if first["type"] == "missing":
        return f"required, but nothing given{': ' + str(field.description) if field else ''}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "string_pattern_mismatch" and field:
        return f"{shown(first['input'])} given; must be {field.description}"
    wanted = " or ".join(dict.fromkeys(_wanted(error) for error in errors))
    hint = _hint(first)
    if first["type"] == "extra_forbidden":
        return f"unknown key{hint}"
    return f"{shown(first['input'])} given; must be {wanted}{hint}"


def _wanted(error: ErrorDetails) -> str:
    kind = error["type"].split("_")[0]
    if error["type"] == "literal_error":
        return re.sub(r"'(.*?)'", r"\1", error["ctx"]["expected"]).replace(" or ", ", ")
    if error["type"] in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return error["msg"].removeprefix("Input should be ")
    if kind in WANTED and not error["type"].startswith(("string_too", "string_pattern", "list_too")):
        return WANTED[kind]
    return error["msg"].removeprefix("Input should ").removeprefix("be ")


def _hint(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return nearest(str(error["loc"][-1]), list(SourceSettings.model_fields))
    if error["type"] != "literal_error" or not isinstance(error["input"], str):
        return ""
    return nearest(error["input"], re.findall(r"'(.*?)'", error["ctx"]["expected"]))
