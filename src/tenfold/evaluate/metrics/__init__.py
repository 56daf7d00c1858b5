"""Metrics by name. A metric is a file in this folder; ``accuracy:first_integer`` gives one its argument."""

from collections.abc import Sequence

from tenfold import plugins
from tenfold.evaluate.metrics._base import Measure, Need
from tenfold.evaluate.metrics._drift import DRIFT, GENERAL, KL

__all__ = [
    "DRIFT",
    "GENERAL",
    "KL",
    "Measure",
    "Need",
    "find_measure",
    "find_metric",
    "find_metrics",
    "metric_names",
]


def metric_names() -> list[str]:
    """Every metric there is, sorted."""
    return plugins.names(__name__, ("Metric",))


def find_metric(name: str) -> Measure:
    """The metric of a name. Raises ConfigError with the known names, or the arguments that it takes."""
    kind, colon, argument = name.partition(":")
    measure: Measure = plugins.find(__name__, kind, ("Metric",)).Metric(name, argument if colon else None)
    return measure


def find_metrics(names: Sequence[str]) -> list[Measure]:
    """Each named metric once, in order."""
    return [find_metric(name) for name in dict.fromkeys(names)]


def find_measure(name: str) -> Measure:
    """The measure behind a result's name: a metric, or one of ``DRIFT``."""
    return DRIFT[name] if name in DRIFT else find_metric(name)
