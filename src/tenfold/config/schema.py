"""The JSON schema of the config file, put together from the settings' own schemas."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from tenfold.config import keys
from tenfold.config.settings import RunSettings, TrainingSettings
from tenfold.tasks.settings import TEMPLATE_NAMES, TaskSettings


def schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the YAML. Every value may be empty, which is the same as not given."""
    definitions: dict[str, Any] = {}
    models: list[type[BaseModel]] = [RunSettings, TrainingSettings, TaskSettings]
    for model in (*models, *keys.kind_settings().values()):
        definitions |= model.model_json_schema().get("$defs", {})
    tasks = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/Task"}}
    top = {**_properties(RunSettings), **_training(), **_some(TaskSettings, keys.SHARED)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tenfold config",
        "type": "object",
        "additionalProperties": False,
        "required": ["base_model", "tasks"],
        "properties": {**top, "tasks": tasks, "adapter": _adapter(keys.QLORA, keys.FULL)},
        "$defs": {**definitions, "Task": _task()},
    }


def _task() -> dict[str, Any]:
    own = _properties(TaskSettings)
    names = dict.fromkeys(TEMPLATE_NAMES, own["prompt"])
    properties = {**own, **names, **_training(), "adapter": _adapter(keys.FULL)}
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _training() -> dict[str, Any]:
    found = _properties(TrainingSettings)
    for model in keys.kind_settings().values():
        found |= _properties(model)
    return found


def _adapter(*alone: str) -> dict[str, Any]:
    """One kind, several joined by + and none of them twice, or what can only stand alone."""
    kinds = [*keys.kind_settings()]
    one, join = f"(?:{'|'.join(kinds)})", re.escape(keys.JOIN)
    again = rf"(?:.*{join})?(\w+){join}(?:.*{join})?\1(?:{join}|$)"
    several = {"type": "string", "pattern": f"^(?!{again}){one}(?:{join}{one})+$"}
    return {**_properties(RunSettings)["adapter"], "anyOf": [{"enum": [*kinds, *alone, None]}, several]}


def _some(model: type[BaseModel], names: Iterable[str]) -> dict[str, Any]:
    every = _properties(model)
    return {name: every[name] for name in names}


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    return {name: _or_empty(of) for name, of in model.model_json_schema()["properties"].items()}


def _or_empty(of: dict[str, Any]) -> dict[str, Any]:
    """The schema of a key, with null allowed."""
    about = {key: of[key] for key in ("description", "default") if of.get(key) is not None}
    kind = {key: value for key, value in of.items() if key not in ("description", "default", "title")}
    members = kind.get("anyOf", [kind])
    return {"anyOf": members if {"type": "null"} in members else [*members, {"type": "null"}], **about}
