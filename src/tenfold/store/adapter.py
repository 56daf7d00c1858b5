"""Adapters on disk in PEFT's format: saved whole, and loaded only where every tensor fits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from tenfold import plugins
from tenfold.adapters._base import Adapter, Kind, Layer
from tenfold.adapters.bank import Bank
from tenfold.base.model import Base
from tenfold.errors import AdapterError
from tenfold.store import atomic, card, documents, peft

SETTINGS, TENSORS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
FLOATS = ("F64", "F32", "F16", "BF16")


def save(bank: Bank, name: str, folder: Path, described: card.Card) -> None:
    """Write an adapter as PEFT's two files and its card; the folder has the old adapter or the new one.

    Raises AdapterError for a name that is not in the bank, RunError where the folder cannot be written.
    """
    assert described.fingerprint == bank.base.fingerprint, "a card of another base"
    tensors = {
        _key(layer, file_name): getattr(module, attribute).detach().cpu().contiguous()
        for layer, module in bank.get(name).modules.items()
        for attribute, file_name in module.tensors.items()
    }
    with atomic.folder(folder) as work:
        (work / SETTINGS).write_bytes(documents.text(peft.describe(bank, name)))
        (work / TENSORS).write_bytes(to_bytes(tensors, {"format": "pt"}))
        (work / card.NAME).write_bytes(documents.text(described))


def load(bank: Bank, folder: Path, name: str | None = None, training: Mapping[str, Any] | None = None) -> str:
    """Put an adapter from disk into the bank, in float32, under a name (the folder's own unless given).

    training: settings of a task that trains it further; those that only matter in training (dropout, factors on
    the learning rate) hold, those that make the adapter what it is come from the file.
    Raises AdapterError, and leaves the bank as it was, for a folder that is broken, of another base model,
    or whose tensors are not exactly those that its settings ask for on this base.
    """
    atomic.recover(folder)
    settings = documents.read_object(folder / SETTINGS, AdapterError)
    _check_base(folder, bank.base)
    name = name or folder.resolve().name
    try:
        kind, config = peft.kind(settings)
        if training:
            own: Kind = plugins.find("tenfold.adapters", kind)
            config = config.model_copy(update={key: training[key] for key in own.TRAINING if key in training})
        layers = peft.layers(bank.base.model, settings)
        values = _read(_file(folder), _shapes(kind, config, layers))
    except AdapterError as error:
        raise AdapterError(f"{folder}: {error}") from None
    installed = bank.add(name, kind, config, layers=layers)
    with torch.no_grad():
        for layer, module in installed.modules.items():
            for attribute, file_name in module.tensors.items():
                getattr(module, attribute).copy_(values[_key(layer, file_name)])
    return name


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / SETTINGS).is_file()


def base_model(folder: Path) -> str:
    """The name of the base model that an adapter was made for. Raises AdapterError where its files don't say."""
    found = card.read(folder)
    name = (
        found.base_model
        if found
        else documents.read_object(folder / SETTINGS, AdapterError).get("base_model_name_or_path")
    )
    if not isinstance(name, str) or not name:
        raise AdapterError(f"{folder} does not say which base model it was made for")
    return name


def _key(layer: str, file_name: str) -> str:
    return f"base_model.model.{layer}.{file_name}"


def _check_base(folder: Path, base: Base) -> None:
    found = card.read(folder)
    if found and found.fingerprint != base.fingerprint:
        raise AdapterError(
            f"{folder} was made for base model {found.base_model!r} (fingerprint {found.fingerprint:.12}), "
            f"not for {base.name!r} ({base.fingerprint:.12})"
        )


def _file(folder: Path) -> Path:
    path = folder / TENSORS
    if not path.exists() and (folder / PICKLE).exists():
        raise AdapterError(f"{PICKLE} is a pickle, which can run code; only {TENSORS} is read")
    return path


def _shapes(kind: str, config: BaseModel, layers: list[Layer]) -> dict[str, tuple[int, ...]]:
    """Every tensor that the settings ask for, by its name in the file. Nothing is allocated."""
    module: Kind = plugins.find("tenfold.adapters", kind)
    shapes = {}
    with torch.device("meta"):
        for layer in layers:
            part = _build(module.Adapter, config, layer)
            for attribute, file_name in part.tensors.items():
                shapes[_key(layer.name, file_name)] = tuple(getattr(part, attribute).shape)
    return shapes


def _build(adapter: type[Adapter], config: BaseModel, layer: Layer) -> Adapter:
    try:
        return adapter(config, layer, torch.Generator("cpu"))
    except (RuntimeError, TypeError, OverflowError):
        raise AdapterError(f"{config!r:.200} is too large for layer {layer.name!r}") from None


def _read(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a file that holds just these."""
    try:
        with safe_open(path, "pt") as file:
            given = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  no mapping
            _compare({key: tuple(s.get_shape()) for key, s in given.items()}, shapes)
            for key, part in given.items():
                if part.get_dtype() not in FLOATS:
                    raise AdapterError(f"tensor {key!r} is {part.get_dtype()}; allowed: {', '.join(FLOATS)}")
            return {key: file.get_tensor(key) for key in shapes}
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"cannot read {path.name}: {str(error).splitlines()[0]}") from None


def _compare(given: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    """Raises AdapterError with the first tensor that is missing, surplus or of another shape."""
    for what, names in ("missing", wanted.keys() - given.keys()), ("surplus", given.keys() - wanted.keys()):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise AdapterError(f"tensor {min(names)!r} is {what}{more}")
    for key, shape in wanted.items():
        if given[key] != shape:
            raise AdapterError(f"tensor {key!r} has shape {given[key]}; base and settings ask for {shape}")
