"""What every task scored under what, seeds together, and how that compares with the base."""

from functools import cached_property
from math import nan

from tenfold.errors import RunError
from tenfold.evaluate import BASE_LABEL, Result
from tenfold.evaluate.comparison import Finding, Side, compare_sides
from tenfold.evaluate.matrix import FULL, OWN
from tenfold.report.source import Source, adapted, places
from tenfold.statistics import Comparison, Estimate, over_seeds

Place = tuple[str, str, str]
"""A task, a split of it and a metric."""


class Scores:
    """Every place (task, split, metric) with what was measured there, seeds together."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.several = len(source.seeds) > 1

    @cached_property
    def findings(self) -> dict[Place, Finding]:
        """Of several seeds the comparisons of the tasks' own adapters with the base, cases and seeds together."""
        try:
            found = compare_sides([Side(self.source.folder, BASE_LABEL), Side(self.source.folder, OWN)])
        except RunError:
            return {}
        return {(one.task, one.split, one.metric): one for one in found}

    def estimate(self, place: Place, label: str) -> Estimate | None:
        """The value of a label: of one seed with its interval over cases, of several the mean with that over seeds."""
        own = [one for one in self.source.tasks if (one.task, one.split, one.metric, one.adapter) == (*place, label)]
        if not own:
            return None
        if self.several:
            return (
                over_seeds([one.value for one in own]) if len(own) > 1 else Estimate(own[0].value, nan, nan, own[0].n)
            )
        return Estimate(own[0].value, own[0].low, own[0].high, own[0].n)

    def comparison(self, one: Result) -> Comparison | None:
        """With the base."""
        if not self.several:
            return one.comparison
        found = self.findings.get((one.task, one.split, one.metric))
        return found.comparison if found and one.adapter == one.task else None

    def foremost(self, place: Place) -> Result:
        """Of the rows of a place that of the task's own adapter, or else the first."""
        same = [one for one in self.rows if (one.task, one.split, one.metric) == place]
        return next((one for one in same if one.adapter in (one.task, FULL)), same[0])

    @cached_property
    def rows(self) -> list[Result]:
        """One result for each place and label beside the base, or the base's where it is alone."""
        every, order = self.source.tasks, places(self.source.tasks)
        found: dict[tuple[object, ...], Result] = {}
        for one in adapted(every):
            found.setdefault((one.task, one.split, one.metric, one.adapter), one)
        beside = {key[:3] for key in found}
        for one in every:
            if one.adapter == BASE_LABEL and (one.task, one.split, one.metric) not in beside:
                found.setdefault((one.task, one.split, one.metric, one.adapter), one)
        return sorted(found.values(), key=lambda one: order.index((one.task, one.split, one.metric)))
