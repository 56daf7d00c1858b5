"""``tenfold train``."""

from typing import Annotated

import typer
from rich.console import Console

from tenfold import training
from tenfold.cli.arguments import ConfigFile, Overrides
from tenfold.cli.progress import drawing
from tenfold.cli.stages import show_plan
from tenfold.config import Config

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the stages and stop.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")]


def command(config: ConfigFile, set_: Overrides = None, dry_run: DryRun = False, resume: Resume = False) -> None:
    """Train the adapters of a config side by side, then evaluate them."""
    settings = Config.load(config, set_ or ())
    with drawing() as progress:
        if dry_run:
            show_plan(settings, Console(), progress)
        else:
            training.run(settings, resume=resume, progress=progress)  # type: ignore[attr-defined]
