"""Fits a router: which texts are looked at, the kinds, their temperatures, and when to abstain."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from tenfold.errors import ConfigError, DataError
from tenfold.progress import SILENT, Progress
from tenfold.route import abstention, kinds
from tenfold.route.abstention import SCORES, Abstention
from tenfold.route.calibration import Calibration, Labels, calibrate
from tenfold.route.kinds._base import Setting, Texts
from tenfold.route.memory import remembering
from tenfold.route.regression import solve
from tenfold.route.router import Part, Router
from tenfold.route.texts import clean

if TYPE_CHECKING:
    from tenfold.adapters import Bank

MOST_TEXTS = 1000
"""Texts of each task that are looked at, drawn by the seed; fewer where together they reach a kind's ``most``."""
LEAST_TEXTS = 2
HELD_OUT = 0.15
"""Share of a task's training texts that stand in for validation texts where it has none."""
LEFT_OUT = 5
"""Tasks that are left out in turn to choose the out-of-scope score."""
FEW = 60  # texts of a task while that is done
ALIKE = 0.5
UNSETTLED = Calibration(1.0, 0, nan, nan, nan, nan)

Lists = dict[str, list[str]]


def fit(
    train: Texts,
    validation: Texts | None = None,
    kinds: Sequence[str] = ("tfidf",),
    *,
    coverage: float = 0.95,
    seed: int = 0,
    bank: "Bank | None" = None,
    progress: Progress = SILENT,
) -> Router:
    """A router between the tasks of ``train``.

    train, validation: by task, what users would type. Validation sets the temperature and the threshold; a task
    without any has a share of its training texts held out instead. Validation texts of other tasks than those of
    ``train`` are out of scope, and help to choose the score.
    kinds: names of files in route/kinds, several to add their calibrated logits.
    coverage: the share of in-scope texts that should be answered by an adapter. bank: for kinds that read the base.
    Raises DataError for a task without texts, ConfigError for kinds and settings that are not allowed.
    """
    learnt, held, outside, notes = _prepare(train, validation or {}, _check(kinds, coverage), seed)
    setting = Setting(solve, bank, seed=seed)
    with remembering(), progress.start("fitting the router", None, "kinds") as task:
        router = _calibrated(_fitted(learnt, kinds, setting), held)
        task.advance()
        found = _left_out(router, learnt, held, kinds, setting) if not outside else _outside(router, held, outside)
        name, areas = abstention.choose(found, len(learnt))
        done = _threshold(router, held, Abstention(name, np.inf, coverage, areas))
        task.advance()
    return replace(done, notes=tuple(notes))


def _check(specs: Sequence[str], coverage: float) -> tuple[int, int]:
    """The most texts that any of the kinds looks at, and that all of them do."""
    if isinstance(specs, str) or not specs:
        raise ConfigError(f"router: kinds must be a list of {', '.join(kinds.names())}; {specs!r} given")
    if not 0 < coverage <= 1:
        raise ConfigError(f"router_coverage: {coverage} given; must be above 0 and up to 1")
    most = [kinds.find(spec)[0].most for spec in specs]
    if len(set(specs)) < len(specs):
        raise ConfigError(f"router: {', '.join(specs)} says one twice; each kind at most once")
    return max(most), min(most)


def _prepare(
    train: Texts, validation: Texts, most: tuple[int, int], seed: int
) -> tuple[Lists, Lists, list[str], list[str]]:
    """Texts to learn from, texts that are held back, texts of no task, and notes."""
    if not train:
        raise DataError("router: no tasks to tell apart")
    learnt, held, notes = {}, {}, []
    limit, few = (_limit(one, len(train)) for one in most)
    for name, texts in train.items():
        own = _drawn(texts, limit, seed)
        if not own:
            raise DataError(f"router: task {name!r} has no text that is not empty")
        learnt[name], held[name] = own, _drawn(validation.get(name, ()), few, seed)
        if not held[name]:
            count = min(round(HELD_OUT * len(own)), few)
            learnt[name], held[name] = own[count:], own[:count]
            notes.append(f"{name} has no validation texts: {count} of its {len(own)} training texts were held out")
    notes += _alike(learnt)
    outside = [text for name in validation if name not in train for text in _drawn(validation[name], few, seed)]
    return learnt, held, outside, notes


def _limit(most: int, tasks: int) -> int:
    """Texts of each task where there may be so many of all together."""
    return min(MOST_TEXTS, max(LEAST_TEXTS, most // max(tasks, 1)))


def _drawn(texts: Sequence[str], limit: int, seed: int) -> list[str]:
    """At most ``limit`` distinct texts that are not empty, in an order of the seed's."""
    every = list(dict.fromkeys(text for text in map(clean, texts) if text))
    return random.Random(seed).sample(every, min(limit, len(every)))


def _alike(learnt: Lists) -> list[str]:
    """A note for each two tasks of which half the texts or more are the same."""
    sets = {name: set(texts) for name, texts in learnt.items()}
    found = []
    for one, other in combinations(sets, 2) if len(sets) <= 100 else ():
        share = len(sets[one] & sets[other]) / min(len(sets[one]), len(sets[other]))
        if share >= ALIKE:
            found.append(
                f"{one} and {other} have {share:.0%} of their texts in common: text alone can't tell them apart"
            )
    return found


def _fitted(texts: Texts, specs: Sequence[str], setting: Setting) -> Router:
    parts = []
    for spec in specs:
        kind, argument = kinds.find(spec)
        limit = _limit(kind.most, len(texts))
        few = {name: own[:limit] for name, own in texts.items()}
        parts.append(Part(spec, kind.fit(few, replace(setting, argument=argument))))
    return Router(tuple(texts), tuple(parts), UNSETTLED, Abstention(SCORES[0], np.inf, 1.0, {}))


def _calibrated(router: Router, held: Texts) -> Router:
    """With a temperature for each kind, and one for their sum."""
    every, labels = _flat(router.tasks, held)
    if not every:
        return router
    parts = [
        replace(part, temperature=calibrate(part.scorer.logits(every), labels).temperature)
        if len(router.parts) > 1
        else part
        for part in router.parts
    ]
    summed = replace(router, parts=tuple(parts))
    return replace(summed, calibration=calibrate(summed.logits(every), labels))


def _flat(tasks: Sequence[str], texts: Texts) -> tuple[list[str], Labels]:
    every = [text for name in tasks for text in texts.get(name, ())]
    return every, np.array([n for n, name in enumerate(tasks) for _ in texts.get(name, ())], dtype=np.int64)


def _far(router: Router, texts: Sequence[str]) -> dict[str, np.ndarray]:
    logits = router.logits(texts) / router.calibration.temperature
    return {score: router.far(score, texts, logits) for score in SCORES}


def _outside(router: Router, held: Texts, outside: Sequence[str]) -> dict[str, list[float]]:
    """The AUROC of each score for texts that are known to be of no task."""
    inner, outer = _far(router, _flat(router.tasks, held)[0]), _far(router, outside)
    return _areas([(inner, outer)])


def _left_out(
    router: Router, learnt: Lists, held: Lists, specs: Sequence[str], setting: Setting
) -> dict[str, list[float]]:
    """The AUROC of each score for the texts of each task that a router without it is asked about."""
    if len(learnt) < 2 or any(not kinds.find(spec)[0].quick for spec in specs):
        return {}
    few, few_held = ({name: texts[:FEW] for name, texts in own.items()} for own in (learnt, held))
    pairs = []
    for name in random.Random(setting.seed).sample(list(few), min(LEFT_OUT, len(few))):
        others = [other for other in few if other != name][: 4 * LEFT_OUT]
        one = _fitted({other: few[other] for other in others}, specs, setting)
        same = zip(one.parts, router.parts, strict=True)
        parts = tuple(replace(part, temperature=like.temperature) for part, like in same)
        one = replace(one, parts=parts, calibration=router.calibration)
        pairs.append((_far(one, _flat(others, few_held)[0]), _far(one, few_held[name])))
    return _areas(pairs)


def _areas(pairs: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]) -> dict[str, list[float]]:
    found = {s: [abstention.auroc(inner[s], outer[s]) for inner, outer in pairs] for s in SCORES}
    return {score: [area for area in areas if not np.isnan(area)] for score, areas in found.items()}


def _threshold(router: Router, held: Texts, wanted: Abstention) -> Router:
    """With the threshold that lets the wanted share of validation texts through."""
    every = _flat(router.tasks, held)[0]
    chosen = replace(router, abstention=wanted)
    limit = abstention.threshold(chosen.scores(every).out_of_scope, wanted.coverage)
    return replace(chosen, abstention=replace(wanted, threshold=limit))
