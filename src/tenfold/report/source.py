"""What a run folder holds, read once for all sections of its page."""

import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tenfold.errors import RunError
from tenfold.evaluate import BASE_LABEL, Result, read_results, seed_folders
from tenfold.evaluate.metrics import DRIFT
from tenfold.evaluate.results import ROUTER
from tenfold.evaluate.tables import name_columns
from tenfold.store import RunFolder, documents

ROUTED = ("routed", "top1", "soft", "random", "merged", "mixture")
"""Labels under which rows were answered by what something else than their task chose."""
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Source:
    """A run folder. With several seeds it holds a run for each, else it is that run itself."""

    folder: pathlib.Path

    @cached_property
    def runs(self) -> list[RunFolder]:
        """The run of every seed."""
        found = [RunFolder(path) for path in seed_folders(self.folder) if (path / "config.yaml").is_file()]
        if not found or "seeds" in found[0].read_json("plan.json"):
            raise RunError(f"{self.folder}: no seed of it has begun")
        return found

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The plan of the first seed's run."""
        return documents.read_object(self.runs[0].path / "plan.json", RunError)

    @cached_property
    def machine(self) -> dict[str, Any]:
        """What the first seed's run kept of its machine; empty where it kept nothing."""
        return self.json("machine.json", self.runs[0].path) or {}

    @cached_property
    def results(self) -> list[Result]:
        """What holds at the end, of every seed."""
        return [one for one in read_results(self.folder / "results.json") if one.stage is None]

    @cached_property
    def tasks(self) -> list[Result]:
        """Those that are about tasks: no drift, no router."""
        return [one for one in self.results if one.task != ROUTER and one.metric not in DRIFT]

    @cached_property
    def names(self) -> dict[tuple[str, str], str]:
        """How each task and split is called."""
        return name_columns((one.task, one.split) for one in self.tasks)

    @cached_property
    def metrics(self) -> list[Records]:
        """The lines of ``metrics.jsonl`` of every seed, those of tasks that were added behind the run's own."""
        return [
            [line for own in (run, *map(RunFolder, sorted(run.path.glob("added/*")))) for line in own.metrics()]
            for run in self.runs
        ]

    @property
    def seeds(self) -> list[int]:
        """Of the results, in order."""
        return list(dict.fromkeys(one.seed for one in self.results))

    def json(self, name: str, folder: pathlib.Path | None = None) -> dict[str, Any] | None:
        """A JSON object of the folder; None where there is no such file."""
        path = (folder or self.folder) / name
        return documents.read_object(path, RunError) if path.is_file() else None


def adapted(results: Iterable[Result]) -> list[Result]:
    """The results under the tasks' own adapters and such, not the base's and not those that something chose."""
    return [one for one in results if one.adapter not in (BASE_LABEL, *ROUTED)]


def places(results: Iterable[Result]) -> list[tuple[str, str, str]]:
    """Task, split and metric of each, once, in order."""
    return list(dict.fromkeys((one.task, one.split, one.metric) for one in results))
