"""``tenfold demo``."""

from pathlib import Path

from tenfold import training
from tenfold.cli.arguments import Overrides
from tenfold.cli.progress import drawing
from tenfold.config import Config

DEMO = Path(__file__).with_name("demo.yaml")


def command(set_: Overrides = None) -> None:
    """Train three adapters side by side on the default base, in runs/demo, and show what they learnt."""
    settings = Config.load(DEMO, set_ or ())
    with drawing() as progress:
        training.run(settings, resume=False, progress=progress)  # type: ignore[attr-defined]
