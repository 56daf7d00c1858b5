"""What a stage is resumed from: parameters, constants, optimizer states and counts. Written whole or not at all.

Random numbers need no state: the order of rows and every dropout mask are functions of seed and step.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tenfold.errors import RunError
from tenfold.store import RunFolder, atomic
from tenfold.training.learner import Learner
from tenfold.training.loop import State

STATE = "state.json"


def save(run: RunFolder, stage: int, state: State, notes: dict[str, Any]) -> None:
    """Keep the stage as it stands after ``state.done`` steps; older checkpoints go once the new one is whole.

    notes: JSON that ``load`` gives back. Raises RunError where the disk refuses; the old one stays then.
    """
    place = run.checkpoints / f"{stage}-{state.done:06d}"
    with atomic.folder(place) as work:
        described = {learner.name: _write(work, learner) for learner in state.learners}
        found = {"stage": stage, "done": state.done, "learners": described, "notes": notes}
        (work / STATE).write_text(json.dumps(found), "utf-8")
    for old in run.checkpoints.iterdir():
        if old != place:
            shutil.rmtree(old, ignore_errors=True)


def find(run: RunFolder) -> Path | None:
    """The newest checkpoint, None where there is none."""
    return max(run.checkpoints.glob("[0-9]*-[0-9]*"), key=lambda path: [*map(int, path.name.split("-"))], default=None)


def load(path: Path, state: State) -> dict[str, Any]:
    """Put a stage back to where the checkpoint was -> its notes. Raises RunError for one that is torn."""
    try:
        found = json.loads((path / STATE).read_text("utf-8"))
        for learner in state.learners:
            _read(path, learner, found["learners"][learner.name])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{path} is torn ({type(error).__name__}); remove it to start the stage again") from None
    state.done = found["done"]
    return found["notes"]  # type: ignore[no-any-return]


def _write(work: Path, learner: Learner) -> Any:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _kept(learner).items()}
    described = _flatten(learner.optimizer.state_dict(), "o", tensors)
    save_file(tensors, work / f"{learner.name}.safetensors")
    return described


def _read(path: Path, learner: Learner, described: Any) -> None:
    tensors = load_file(path / f"{learner.name}.safetensors")
    with torch.no_grad():
        for name, tensor in _kept(learner).items():
            tensor.copy_(tensors[name])
    learner.optimizer.load_state_dict(_restore(described, tensors))


def _kept(learner: Learner) -> dict[str, Tensor]:
    parameters: dict[str, Tensor] = {f"p/{name}": tensor for name, tensor in learner.parameters.items()}
    return parameters | {f"c/{name}": tensor for name, tensor in learner.constants.items()}


def _flatten(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON with every tensor moved out to ``tensors`` and its place left behind."""
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous()
        return {"tensor": place}
    if isinstance(value, dict):
        return {"items": [[key, _flatten(item, f"{place}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_flatten(item, f"{place}/{i}", tensors) for i, item in enumerate(value)]
    return value


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    if isinstance(value, dict):
        return tensors[value["tensor"]] if "tensor" in value else dict(_items(value["items"], tensors))
    return value


def _items(items: list[Any], tensors: dict[str, Tensor]) -> Iterator[tuple[Any, Any]]:
    for key, item in items:
        yield key, _restore(item, tensors)
