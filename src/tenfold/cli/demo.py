"""``tenfold demo``."""

from pathlib import Path

from tenfold.cli.arguments import Overrides
from tenfold.cli.train import train
from tenfold.config import Config

DEMO = Path(__file__).with_name("demo.yaml")


def command(set_: Overrides = None) -> None:
    """Train three adapters side by side on the default base, in runs/demo, and show what they learnt."""
    train(Config.load(DEMO, set_ or ()), overwrite=True)
