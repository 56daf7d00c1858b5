"""``tenfold evaluate``."""

from typing import Annotated

import typer

from tenfold import evaluate
from tenfold.cli.arguments import RunFolder
from tenfold.cli.progress import drawing

Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", metavar="NAME", help="Measure with this adapter, beside the base; may be repeated."),
]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", metavar="NAME", help="Measure only this task; may be repeated.")
]


def command(run: RunFolder, adapter: Adapters = None, task: Tasks = None) -> None:
    """Measure every task of a run with the base and with its adapter, or with those that are named."""
    with drawing() as progress:
        evaluate.evaluate_run(run, adapters=adapter, tasks=task, progress=progress)  # type: ignore[attr-defined]
