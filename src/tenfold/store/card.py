"""What an adapter was made for and from: ``card.json`` beside its tensors."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tenfold.base.model import Base
from tenfold.errors import AdapterError
from tenfold.store import documents

NAME = "card.json"


class Card(BaseModel):
    """One adapter's card. Keys that a newer tenfold added are kept.

    tenfold: the version that wrote it. base_model, fingerprint: the model, by name and by its float weights.
    quantisation: how the base was held in training, None for floats. prompt: the task's template settings.
    composition: the task's adapters that it was trained and measured together with, itself among them.
    tasks: the template settings of each, for an adapter of several tasks. data: hash of the training rows.
    metrics: by name, as measured last. settings: what it was trained with.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    tenfold: str
    base_model: str
    fingerprint: str
    quantisation: str | None = None
    task: str | None = None
    composition: list[str] = []
    prompt: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    data: str | None = None
    metrics: dict[str, float | None] = {}
    settings: dict[str, Any] = {}
    date: datetime


def describe(
    base: Base,
    *,
    task: str | None = None,
    composition: list[str] | None = None,
    prompt: dict[str, Any] | None = None,
    tasks: dict[str, dict[str, Any]] | None = None,
    data: str | None = None,
    metrics: dict[str, float | None] | None = None,
    settings: dict[str, Any] | None = None,
) -> Card:
    """A card for an adapter on this base, dated now."""
    return Card(
        tenfold=version("tenfold"), base_model=base.name, fingerprint=base.fingerprint, task=task, data=data,
        quantisation=str(base.quantization) if base.quantization else None, composition=composition or [],
        prompt=prompt or {}, tasks=tasks or {}, metrics=metrics or {}, settings=settings or {}, date=datetime.now(UTC),
    )  # fmt: skip


def read(folder: Path) -> Card | None:
    """The card in an adapter's folder, None where PEFT left none. Raises AdapterError for a broken one."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return Card.model_validate(documents.read_object(path, AdapterError))
    except ValidationError as error:
        raise AdapterError(f"{path}: {first_problem(error)}") from None


def first_problem(error: ValidationError) -> str:
    """The first thing that pydantic found wrong, on one line."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    given = "" if first["type"] == "missing" else f", not {first['input']!r:.80}"
    return f"{where}: {first['msg']}{given}"
