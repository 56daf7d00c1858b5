"""Adapters on disk in PEFT's format: saved whole, and loaded only where every tensor fits."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from tenfold import plugins
from tenfold.adapters._base import Adapter, Kind, Layer
from tenfold.adapters.bank import Bank
from tenfold.adapters.blank import blank
from tenfold.adapters.targets import mlps
from tenfold.base.families import PEFT_TASKS, Family
from tenfold.base.model import Base
from tenfold.errors import AdapterError
from tenfold.store import atomic, card, documents, own, peft, tensors

SETTINGS, TENSORS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"


def save(bank: Bank, name: str, folder: Path, described: card.Card) -> None:
    """Write an adapter as PEFT's two files and its card; the folder has the old adapter or the new one.

    Raises AdapterError for a name that is not in the bank, RunError where the folder cannot be written.
    """
    assert described.fingerprint == bank.base.fingerprint, "a card of another base"
    values = {
        own.key(layer, file_name): tensor.detach().cpu().contiguous()
        for layer, module in bank.get(name).modules.items()
        for file_name, tensor in module.written().items()
    }
    values |= own.tensors(bank.get(name).copies)
    with atomic.folder(folder) as work:
        (work / SETTINGS).write_bytes(documents.text(peft.describe(bank, name)))
        tensors.write(work / TENSORS, values)
        (work / card.NAME).write_bytes(documents.text(described))


def load(
    bank: Bank,
    folder: Path,
    name: str | None = None,
    training: Mapping[str, Any] | None = None,
    fingerprint: str | None = None,
) -> str:
    """Put an adapter from disk into the bank, in float32, under a name (the folder's own unless given).

    training: settings of a task that trains it further; those that only matter in training (dropout, factors on
    the learning rate) hold, those that make the adapter what it is come from the file. fingerprint: of the base that it
    must have been made for, where that is not the bank's.
    Raises AdapterError, and leaves the bank as it was, for a folder that is broken, of another base model,
    or whose tensors are not exactly those that its settings ask for on this base.
    """
    name = name or folder.resolve().name
    bank.require_free(name)
    bank.install(name, *read(bank, folder, training, fingerprint))
    return name


class Content(NamedTuple):
    """What an adapter's folder holds, ready for ``Bank.install``."""

    kind: str
    config: Any
    parts: dict[Layer, Adapter]
    copies: dict[str, nn.Module]


def read(
    bank: Bank, folder: Path, training: Mapping[str, Any] | None = None, fingerprint: str | None = None
) -> Content:
    """An adapter from disk, not put into the bank. See ``load``."""
    atomic.recover(folder)
    settings = documents.read_object(folder / SETTINGS, AdapterError)
    _check_base(folder, bank.base, fingerprint or bank.base.fingerprint)
    try:
        kind, config = peft.kind(settings)
        module: Kind = plugins.find("tenfold.adapters", kind, peft.WRITTEN)
        if training:
            config = config.model_copy(update={key: training[key] for key in module.TRAINING if key in training})
        targets = module.targets(config)
        known = mlps(bank.base.model) if targets.mlps else bank.linear
        layers = [] if targets.names == () else peft.layers(bank, settings, known)
        parts, file = blank(module, config, layers), _file(folder)
        modules = own.shells(bank.base, settings, lambda: tensors.shapes(file))
        _fill(parts, modules, file, bank)
    except AdapterError as error:
        raise AdapterError(f"{folder}: {error}") from None
    return Content(kind, config, parts, modules)


def digest(folder: Path) -> str:
    """Of an adapter's settings and tensors: what it computes on its base follows from these. AdapterError without."""
    found = hashlib.blake2b(digest_size=16)
    try:
        for name in (SETTINGS, TENSORS):
            with (folder / name).open("rb") as file:
                found.update(hashlib.file_digest(file, "blake2b").digest())
    except OSError as error:
        raise AdapterError(f"{folder}: cannot read {name}: {error.strerror}") from None
    return found.hexdigest()


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / SETTINGS).is_file()


class Origin(NamedTuple):
    """What an adapter was made for: a base model by name, and its family where that is known."""

    base_model: str
    family: Family | None


def origin(folder: Path) -> Origin:
    """What an adapter was made for. Raises AdapterError where its files don't say which base model it was."""
    found, settings = card.read(folder), documents.read_object(folder / SETTINGS, AdapterError)
    name = found.base_model if found else settings.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise AdapterError(f"{folder} does not say which base model it was made for")
    return Origin(name, next((key for key, task in PEFT_TASKS.items() if task == settings.get("task_type")), None))


def _check_base(folder: Path, base: Base, fingerprint: str) -> None:
    found = card.read(folder)
    if found and found.fingerprint != fingerprint:
        raise AdapterError(
            f"{folder} was made for base model {found.base_model!r} (fingerprint {found.fingerprint:.12}), "
            f"not for {base.name!r} ({fingerprint:.12})"
        )


def _file(folder: Path) -> Path:
    path = folder / TENSORS
    if not path.exists() and (folder / PICKLE).exists():
        raise AdapterError(f"{PICKLE} is a pickle, which can run code; only {TENSORS} is read")
    return path


def _fill(parts: Mapping[Layer, Adapter], modules: Mapping[str, nn.Module], path: Path, bank: Bank) -> None:
    """Give parts and own modules the numbers of a file that holds just these, on the devices of what they stand at."""
    shapes = {
        own.key(layer.name, file_name): tuple(getattr(part, attribute).shape)
        for layer, part in parts.items()
        for attribute, file_name in part.tensors.items()
    }
    values = tensors.read(path, {**shapes, **own.shapes(modules)}, bank.base.device)
    own.fill(modules, values)
    for layer, part in parts.items():
        device = bank.device_of(layer)
        for attribute, file_name in part.tensors.items():
            value = values[own.key(layer.name, file_name)]
            part.register_parameter(attribute, nn.Parameter(value if value.device == device else value.to(device)))
