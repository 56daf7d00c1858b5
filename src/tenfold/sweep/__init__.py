"""Search over settings, and comparisons at equal size: many trials on one base, kept in Optuna's database."""

from tenfold.sweep.document import Sweep, load
from tenfold.sweep.run import Finished, Plan, prepare, run

__all__ = ["Finished", "Plan", "Sweep", "load", "prepare", "run"]
