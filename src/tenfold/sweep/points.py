"""What trials try: points of the space of settings, listed beforehand or proposed one by one."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tenfold.errors import ConfigError
from tenfold.sweep.settings import RangeSettings, SweepSettings

MOST = 10_000
"""Points beyond which a grid is taken for a mistake."""
Space = Mapping[str, list[Any] | RangeSettings]


@dataclass(frozen=True)
class Point:
    """One trial's wish. group: the entry of a comparison, or "". settings: by dotted key."""

    group: str
    settings: Mapping[str, Any]
    seed: int

    @property
    def setting(self) -> str:
        """Names it but for its seed."""
        return json.dumps([self.group, dict(sorted(self.settings.items()))])

    @property
    def key(self) -> str:
        """Names it among all of a sweep."""
        return f"{self.setting} {self.seed}"


def planned(settings: SweepSettings, seeds: Sequence[int]) -> list[Point]:
    """The points of a search that are known beforehand; none of one that proposes them."""
    found: list[dict[str, Any]] = []
    if settings.method == "grid":
        found = _grid(settings)
    elif settings.method == "random":
        generator = np.random.default_rng(settings.seed)
        found = [{key: draw(one, generator) for key, one in settings.search.items()} for _ in range(settings.count)]
    once = {Point("", one, 0).setting: one for one in found}
    return [Point("", one, seed) for one in once.values() for seed in seeds]


def draw(one: list[Any] | RangeSettings, generator: np.random.Generator) -> Any:
    """One value at random."""
    if isinstance(one, list):
        return one[int(generator.integers(len(one)))]
    if one.step is not None:
        return draw(values(one), generator)
    if one.whole and not one.log:
        return int(generator.integers(int(one.low), int(one.high) + 1))
    if one.log:
        found = float(math.exp(generator.uniform(math.log(one.low), math.log(one.high))))
    else:
        found = float(generator.uniform(one.low, one.high))
    return min(max(round(found), int(one.low)), int(one.high)) if one.whole else found


def values(one: list[Any] | RangeSettings) -> list[Any]:
    """All values, of a range with a step or a list."""
    if isinstance(one, list):
        return one
    assert one.step is not None, "a range without a step has no list of values"
    count = int((one.high - one.low) / one.step + 1e-9) + 1
    found = [one.low + place * one.step for place in range(count)]
    return found if one.whole else [float(f"{value:.12g}") for value in found]


def _grid(settings: SweepSettings) -> list[dict[str, Any]]:
    each = [values(one) for one in settings.search.values()]
    size = math.prod(map(len, each))
    if size > MOST:
        raise ConfigError(f"search: a grid of {size:,} points; at most {MOST:,}, or method random with trials")
    every = [dict(zip(settings.search, one, strict=True)) for one in itertools.product(*each)]
    if settings.trials is None or settings.trials >= len(every):
        return every
    chosen = np.random.default_rng(settings.seed).permutation(len(every))[: settings.trials]
    return [every[place] for place in sorted(chosen)]
