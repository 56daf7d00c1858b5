"""``tenfold train``."""

from typing import Annotated

import typer

from tenfold import training
from tenfold.cli.arguments import ConfigFile, Overrides
from tenfold.cli.matrix import show_matrix
from tenfold.cli.progress import drawing
from tenfold.cli.route import show_quality
from tenfold.cli.stages import show_plan
from tenfold.cli.tables import paper
from tenfold.config import Config
from tenfold.errors import ConfigError
from tenfold.store.run import REPORT
from tenfold.training import Finished

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the stages and stop.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Clear the run that is in the way.")]


def command(
    config: ConfigFile,
    set_: Overrides = None,
    dry_run: DryRun = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a config stage by stage, then evaluate it."""
    if resume and overwrite:
        raise ConfigError("--resume goes on with the run that --overwrite clears; give one of them")
    settings = Config.load(config, set_ or ())
    if dry_run:
        with drawing() as progress:
            show_plan(settings, paper(), progress)
    else:
        train(settings, resume=resume, overwrite=overwrite)


def train(settings: Config, *, resume: bool = False, overwrite: bool = False) -> None:
    """Train with bars, then print the table; leaves with 130 where Ctrl-C cut the training short."""
    with drawing() as progress:
        finished = training.run(settings, resume=resume, overwrite=overwrite, progress=progress)
    if finished.interrupted:
        _say_how_to_go_on(finished)
        raise typer.Exit(130)
    show_quality(finished.results, paper())
    show_matrix(settings.output_dir, paper())
    typer.echo(f"run: {finished.run.folder.path}")
    if (page := settings.output_dir / REPORT).is_file():
        typer.echo(f"report: {page}")


def _say_how_to_go_on(finished: Finished) -> None:
    place = finished.run.folder.path
    typer.echo(f"stopped; what was reached is in {place}; the same command with --resume goes on", err=True)
