"""Every evaluated case, kept as one JSON line: what was asked, answered, expected, and how it was judged."""

import json
import pathlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tenfold.errors import RunError
from tenfold.store.atomic import write

BEFORE = -1
"""The stage of what is measured before any training."""


@dataclass(frozen=True)
class Case:
    """One row of an evaluation set under one composition, as far as the metrics asked for it.

    prompt: the text that the model was given, special tokens included. answer: what it generated, and
    why it stopped (``finish``). nats: minus the log-probability of the expected response over
    ``tokens`` tokens. options: each option's log-probability, EOS included. extracted: what was compared
    with the expected response. correct: where a metric says yes or no. scores: by metric, where it
    scores single cases. kl: how far the adapter moves the base on the prompt, in nats over ``positions``
    positions, where that was measured.
    """

    split: str
    index: int
    prompt: str
    expected: str
    answer: str | None = None
    finish: str | None = None
    nats: float | None = None
    tokens: int | None = None
    options: dict[str, float] | None = None
    extracted: Any = None
    correct: bool | None = None
    scores: dict[str, float] = field(default_factory=dict)
    kl: float | None = None
    positions: int | None = None


def case_folder(run: pathlib.Path, stage: int | None = None) -> pathlib.Path:
    """Where a run keeps its cases: those of its end, of after a stage, or (``BEFORE``) of before the first."""
    if stage is None:
        return run / "cases"
    return run / "stages" / ("before" if stage == BEFORE else str(stage)) / "cases"


def case_file(folder: pathlib.Path, task: str, adapter: str) -> pathlib.Path:
    """``TASK.ADAPTER.jsonl``, where the cases of all splits of a task under one adapter stand."""
    return folder / f"{task}.{adapter}.jsonl"


def write_cases(path: pathlib.Path, cases: Iterable[Case]) -> None:
    """Write one JSON line a case, all of them or, if that fails, none."""
    write(path, "".join(json.dumps(asdict(case), ensure_ascii=False) + "\n" for case in cases))


def read_cases(path: pathlib.Path) -> list[Case]:
    """The cases of one file. Raises RunError, with the line, for a file that is torn or of another kind."""
    return list(_parse(path))


def _parse(path: pathlib.Path) -> Iterator[Case]:
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read the cases in {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        if line:
            try:
                yield Case(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise RunError(f"{path}:{number} is no evaluated case: {error}") from None
