"""A run's folder: what a training leaves, by name.

::

    config.yaml  plan.json  metrics.jsonl  results.json  matrix.json  machine.json  report.html  plots/
    adapters/NAME/  stages/N/adapters/NAME/  stages/N/best/NAME/  stages/N/epoch-E/NAME/
    cases/TASK.ADAPTER.jsonl  stages/N/cases/  stages/before/cases/  checkpoints/  base/  added/TASK/

With several seeds: config.yaml plan.json results.json, and a run for each in seed-S/.
An adapter's NAME is its task's, or TASK.KIND where the task has several.
"""

import re
import shutil
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any, Self

from pydantic_core import from_json

from tenfold.errors import RunError
from tenfold.store import adapter, atomic, documents

CONFIG, PLAN, METRICS, RESULTS = "config.yaml", "plan.json", "metrics.jsonl", "results.json"
INSPECTED = "inspect.png"
MACHINE, REPORT, PLOTS = "machine.json", "report.html", "plots"
LAYOUT = {CONFIG, PLAN, METRICS, RESULTS, INSPECTED, MACHINE, REPORT, PLOTS, "matrix.json", "base", "adapters",
          "stages", "cases", "router", "checkpoints", "added", "tensorboard", "wandb"}  # fmt: skip
SEED = re.compile(r"seed-\d+")
LONGEST = 200


@dataclass(frozen=True)
class RunFolder:
    """Where one run lives. A folder is a run once its ``plan.json`` is written."""

    path: Path

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> Self:
        """An empty folder for a new run; with ``overwrite`` the run that is there is cleared.

        Raises RunError for a folder that holds a run, or anything else that is not tenfold's to overwrite.
        """
        with atomic.told(path):
            path.mkdir(parents=True, exist_ok=True)
            _make_room(path, overwrite)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run that is there. Raises RunError for a folder that is none."""
        if not path.is_dir():
            raise RunError(f"no run at {path}: there is no such folder")
        if not (path / PLAN).is_file():
            raise RunError(f"no run at {path}: it has no {PLAN}")
        return cls(path)

    @property
    def config(self) -> Path:
        """The configuration as it was given."""
        return self.path / CONFIG

    @property
    def base(self) -> Path:
        """The base, where the run trained it itself."""
        return self.path / "base"

    @property
    def router(self) -> Path:
        """What chooses an adapter by a request's text, where the run has that."""
        return self.path / "router"

    @property
    def cases(self) -> Path:
        """Where every evaluated case is kept."""
        return self.path / "cases"

    @property
    def checkpoints(self) -> Path:
        """What a run is resumed from."""
        return self.path / "checkpoints"

    def adapter(self, name: str, stage: int | None = None) -> Path:
        """The folder of one adapter, as the run left it or as a stage did; it need not exist yet."""
        return self._adapters(stage) / folder_name(name)

    def adapters(self, stage: int | None = None) -> dict[str, Path]:
        """The adapters on disk, by name, in alphabetical order."""
        found = self._adapters(stage).glob(f"[!.]*/{adapter.SETTINGS}")
        return {path.parent.name: path.parent for path in sorted(found)}

    def _adapters(self, stage: int | None) -> Path:
        return self.path / "adapters" if stage is None else self.path / "stages" / str(stage) / "adapters"

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file of the run, whole."""
        atomic.write(self.path / name, content)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file of the run, whole."""
        documents.write(self.path / name, value)

    def read_json(self, name: str) -> Any:
        """One JSON file of the run. Raises RunError where it is missing or torn."""
        return documents.read(self.path / name, RunError)

    def append_metrics(self, record: dict[str, Any]) -> None:
        """One more line in ``metrics.jsonl``; half a line that a crash left at its end is dropped."""
        path = self.path / METRICS
        with atomic.told(path), path.open("ab+") as file:
            _drop_torn_line(file)
            file.write(documents.text(record, indent=None))

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl`` but for a torn last one; none where there is no file yet."""
        path, records = self.path / METRICS, []
        for number, line in enumerate(_whole_lines(path), 1):
            try:
                records.append(from_json(line))
            except ValueError as error:
                raise RunError(f"{path}:{number} is not valid JSON: {error}") from None
        return records

    def cut_metrics(self, count: int) -> None:
        """Keep the first ``count`` lines: what a checkpoint had seen, before the run goes on from it."""
        lines = _whole_lines(self.path / METRICS)
        self.write(METRICS, b"".join(lines[:count]))


def folder_name(name: str) -> str:
    """The name itself where it can be a folder's. Raises RunError for one that would lead elsewhere."""
    bad = not name.isprintable() or name.startswith(".") or set(name) & set('/\\:*?"<>|')
    if not name or bad or len(name.encode()) > LONGEST:
        raise RunError(
            f'{name!r} cannot be the name of a folder: no leading dot, no / \\ : * ? " < > |, at most {LONGEST} bytes'
        )
    return name


def _make_room(path: Path, overwrite: bool) -> None:
    """Clear what a run left. Nothing that tenfold did not write is ever removed."""
    there = {entry.name for entry in path.iterdir()}
    ours = {name for name in there if name in LAYOUT or SEED.fullmatch(name)}
    if not overwrite and PLAN in there:
        raise RunError(f"there is a run at {path} already; resume it, overwrite it, or name another output_dir")
    if PLAN not in there and not (overwrite and there <= ours) and there:
        raise RunError(f"{path} holds {min(there)!r} and is no run; name another output_dir")
    for name in sorted(ours, key=PLAN.__eq__):  # the plan last: until then it is a run
        entry = path / name
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _whole_lines(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    return [line for line in lines if line.endswith(b"\n")]


def _drop_torn_line(file: BufferedRandom) -> None:
    size = file.seek(0, 2)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
