"""Where lora-pytorch's checkpoints are: an adapter's folder, or a run with one adapter; and what one costs."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenfold import store
from tenfold.adapters import Bank
from tenfold.errors import AdapterError, ConfigError
from tenfold.store import RunFolder, documents

ROUNDS = 5


@dataclass(frozen=True)
class Report:
    """parameters: of the adapter. share: of them in base and adapter together. checkpoint_bytes: on disk.

    swap_seconds: from the disk into the memory of a base that is loaded, the median of several times.
    """

    parameters: int
    share: float
    checkpoint_bytes: int
    swap_seconds: float

    def __str__(self) -> str:
        return (
            f"trainable: {self.parameters:,} parameters, {self.share:.3%}; "
            f"checkpoint: {self.checkpoint_bytes / 1e6:.2f} MB; swapped in in {self.swap_seconds * 1e3:.1f} ms"
        )


def measure(bank: Bank, folder: Path) -> Report:
    """Load a checkpoint beside what is in the bank, several times, and take it out again."""
    name, seconds = str(folder), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        store.load(bank, folder, name)
        seconds.append(time.perf_counter() - start)
        size = bank.get(name).size
        bank.remove(name)
    whole = size + sum(parameter.numel() for parameter in bank.base.model.parameters())
    on_disk = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return Report(size, size / whole, on_disk, statistics.median(seconds))


def find(checkpoint: Path) -> Path:
    """The adapter's folder that a path means. Raises AdapterError where it means none, or several."""
    if store.is_adapter(checkpoint):
        return checkpoint
    inside = RunFolder(checkpoint).adapters()
    if len(inside) == 1:
        return next(iter(inside.values()))
    there = f"has several adapters; give one of {', '.join(map(str, inside.values()))}" if inside else "has none"
    raise AdapterError(
        f"checkpoint {checkpoint}: it must be an adapter's folder, or a run with one adapter; it {there}"
    )


def read_mapper(given: str | Path | Mapping[str, str | Path]) -> dict[str, Path]:
    """The adapter's folder for each downstream task, from a JSON object of checkpoints or the same as a dict.

    Relative paths start at the JSON file's folder. Raises ConfigError for what is no such object, AdapterError for
    a checkpoint that is not there.
    """
    folder = Path() if isinstance(given, Mapping) else Path(given).parent
    found = given if isinstance(given, Mapping) else documents.read_object(Path(given), ConfigError)
    if not found:
        raise ConfigError(f"{given or 'checkpoint_mapper_path'}: names no downstream task, so there is nothing to ask")
    for task, path in found.items():
        if not isinstance(path, str | Path):
            raise ConfigError(
                f"checkpoint_mapper_path: {task!r}: {path!r:.80} given; it must be the path of a checkpoint"
            )
    places = {task: (folder / Path(path).expanduser()).resolve() for task, path in found.items()}
    try:
        return {task: find(place) for task, place in places.items()}
    except AdapterError as error:
        raise AdapterError(f"checkpoint_mapper_path: {error}") from None
