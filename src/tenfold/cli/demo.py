"""``tenfold demo``."""

from pathlib import Path

import typer

from tenfold.cli.arguments import Overrides
from tenfold.cli.train import train
from tenfold.config import Config

DEMO = Path(__file__).with_name("demo.yaml")


def command(set_: Overrides = None) -> None:
    """Train three adapters side by side on the default base, in runs/demo, and show what they learnt."""
    settings = Config.load(DEMO, set_ or ())
    train(settings, overwrite=True)
    typer.echo(f"try them on a page: tenfold serve {settings.output_dir}, then open http://127.0.0.1:8000/")
    typer.echo(f"or in the terminal: tenfold chat {settings.output_dir}")
