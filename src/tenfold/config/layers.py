"""The settings of one task: what the task says, over what the top says for all."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tenfold.config.document import Path
from tenfold.config.problems import Problem, shown, translate
from tenfold.tasks.settings import TEMPLATE_NAMES

Model = TypeVar("Model", bound=BaseModel)

# Of two settings for one thing the first beats the second, but what a task says beats what the top says.
RIVALS = (("steps", "num_epochs"), ("warmup_steps", "warmup_ratio"))


@dataclass(frozen=True)
class Layer:
    """Values by key and where each stands; ``path`` is where the layer itself stands."""

    path: Path
    values: dict[str, Any]
    origin: dict[str, Path]

    @property
    def own(self) -> list[str]:
        """The keys that stand in this layer itself."""
        return [key for key, path in self.origin.items() if path[:-1] == self.path]

    def build(self, model: type[Model], keys: Iterable[str], problems: list[Problem]) -> Model | None:
        """The model made from those of the keys that are given; None where problems were found."""
        given = {key: self.values[key] for key in keys if key in self.values}
        flags = [key for key in given if _is_flag_for_number(model, key, given[key])]
        problems += [Problem(self.origin[key], f"{shown(given[key])} given; must be a number") for key in flags]
        try:
            built = model.model_validate({key: value for key, value in given.items() if key not in flags})
        except ValidationError as error:
            problems += translate(error, given, {**self.origin, "": self.path}, model)
            return None
        return None if flags else built


def top(values: Mapping[str, Any]) -> Layer:
    """What the top says; an empty value is unset."""
    return _layer((), values)


def over(base: Layer, path: Path, values: Mapping[str, Any], inherited: Iterable[str]) -> Layer:
    """What a task says over what it inherits from the top."""
    own = _layer(path, values)
    beaten = {w for w, loser in RIVALS if loser in own.values and w not in own.values}
    keys = [key for key in inherited if key in base.values and key not in beaten]
    return Layer(
        path,
        {key: base.values[key] for key in keys} | own.values,
        {key: base.origin[key] for key in keys} | own.origin,
    )


def _layer(path: Path, values: Mapping[str, Any]) -> Layer:
    given = {key: value for key, value in values.items() if value is not None}
    origin = {key: (*path, key) for key in given}
    if len(written := [key for key in TEMPLATE_NAMES if key in given]) == 1:
        given["prompt"], origin["prompt"] = given.pop(written[0]), origin.pop(written[0])
    return Layer(path, given, origin)


def _is_flag_for_number(model: type[BaseModel], key: str, given: Any) -> bool:
    """Whether true or false stands where a number should; pydantic would take it for 1 or 0."""
    field = model.model_fields.get(key)
    if field is None or not isinstance(given, bool):
        return False
    types = _members(field.annotation)
    return bool not in types and bool({int, float} & types)


def _members(annotation: Any) -> set[Any]:
    inside = [part for part in get_args(annotation) if isinstance(part, type) or get_args(part)]
    return {annotation}.union(*(_members(part) for part in inside)) if inside else {annotation}
