"""Which of the trials that were finished is best, over all of its seeds."""

from collections.abc import Sequence
from statistics import fmean

from tenfold.sweep.document import Sweep
from tenfold.sweep.points import Point
from tenfold.sweep.study import Kept


def best(sweep: Sweep, trials: Sequence[Kept]) -> Kept | None:
    """The first trial of the setting with the least mean over all of the sweep's seeds; None before there is one."""
    settings: dict[str, list[Kept]] = {}
    for one in trials:
        if one.state == "complete":
            settings.setdefault(one.point.setting, []).append(one)
    whole = [own for own in settings.values() if len(own) == len(sweep.seeds)]
    return min(whole, key=mean)[0] if whole else None


def mean(trials: Sequence[Kept]) -> float:
    """Of what their trials are judged by."""
    return fmean(one.value for one in trials if one.value is not None)


def rates(sweep: Sweep) -> list[Point]:
    """Every entry of a comparison at every learning rate, with the first seed."""
    first = sweep.seeds[0]
    every = [(name, rate) for name in sweep.entries for rate in sweep.settings.learning_rates]
    return [Point(name, {"learning_rate": rate}, first) for name, rate in every]


def chosen(sweep: Sweep, trials: Sequence[Kept]) -> dict[str, float] | None:
    """The learning rate of each entry that has one that works; None while any of them is still being tried."""
    known = {one.point.key: one for one in trials}
    tried = [known.get(point.key) for point in rates(sweep)]
    if not all(one and one.finished for one in tried):
        return None
    found: dict[str, float] = {}
    for name in sweep.entries:
        own = [one for one in tried if one and one.point.group == name and one.state == "complete"]
        if own:
            found[name] = min(own, key=lambda one: one.value or 0.0).point.settings["learning_rate"]
    return found


def wanted(sweep: Sweep, trials: Sequence[Kept]) -> list[Point]:
    """The points of a comparison that are known by now: all learning rates, then all seeds at each one's own."""
    rated = chosen(sweep, trials)
    settled = (rated or {}).items()
    return rates(sweep) + [
        Point(name, {"learning_rate": rate}, seed) for name, rate in settled for seed in sweep.seeds[1:]
    ]
