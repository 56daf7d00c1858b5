"""Training: stages from a config, lanes side by side, adapters on disk."""

from tenfold.training.run import Finished, run

__all__ = ["Finished", "run"]
