"""``tenfold data``."""

from pathlib import Path
from typing import Annotated

import typer

from tenfold import base, runs, tasks
from tenfold.cli import tables
from tenfold.cli.arguments import ConfigFile, Overrides
from tenfold.cli.progress import drawing
from tenfold.config import Config
from tenfold.progress import Progress
from tenfold.tasks.checks import DataReport
from tenfold.tasks.plots import save_lengths

Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="PNG", help="Where the plot of the lengths goes; by default RUN.lengths.png beside the run folder."
    ),
]


def command(config: ConfigFile, set_: Overrides = None, plot: Plot = None) -> None:
    """Show rows, lengths, labels, cut rows, rows that leak between splits, and what the loss counts."""
    settings = Config.load(config, set_ or ())
    with drawing() as progress:
        found = inspect(settings, progress)
    place = plot or settings.output_dir.with_name(f"{settings.output_dir.name}.lengths.png")
    place.parent.mkdir(parents=True, exist_ok=True)
    save_lengths(found, place)
    tables.show_data(found, tables.paper())
    typer.echo(f"lengths: {place}")


def inspect(settings: Config, progress: Progress) -> DataReport:
    """Read and tokenise every split of every task."""
    coding = base.load_coding(settings.base_model, family=runs.family(settings), progress=progress)
    loaded = runs.load_tasks(settings)
    with settings.locating():
        return tasks.inspect(loaded, coding, progress)
