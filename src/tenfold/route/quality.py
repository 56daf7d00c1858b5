"""How good a router's choices are, each number with its 95% interval."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from tenfold.route.abstention import auroc
from tenfold.route.calibration import Floats, ece_rows, ece_statistic
from tenfold.route.fitting import fit
from tenfold.route.kinds._base import Texts
from tenfold.route.memory import remembering
from tenfold.route.router import Router
from tenfold.statistics import NORMAL, Estimate, Z, estimate, mean_rows, wilson

if TYPE_CHECKING:
    from tenfold.adapters import Bank

TIMED = 200
FOLDS = 8


@dataclass(frozen=True)
class Quality:
    """One number: ``accuracy``, ``auroc`` ..., and of what: bare text, other templates, held-out tasks, other text."""

    metric: str
    of: str
    found: Estimate
    higher_is_better: bool = True


def measure(router: Router, asked: Texts, wrapped: Texts | None = None, others: Sequence[str] = ()) -> list[Quality]:
    """A router on texts of its tasks, on the same texts inside other tasks' templates, and on texts of none.

    asked, wrapped: by task; those of a task that the router does not know count as texts of none.
    """
    known = {name: texts for name, texts in asked.items() if name in router.tasks and texts}
    strange = [text for name, texts in asked.items() if name not in router.tasks for text in texts]
    found = _choices(router, known, "bare text") if known else []
    if wrapped and known:
        inside = {name: texts for name, texts in wrapped.items() if name in known}
        found += _choices(router, inside, "text in another task's template")[:2]
    every = [text for texts in known.values() for text in texts]
    if every:
        found += _latency(router, every)
    for of, texts in ("an unknown task", strange), ("unrelated text", list(others)):
        if texts and every:
            found += _scope(router, every, texts, of)
    return found


def _choices(router: Router, texts: Texts, of: str) -> list[Quality]:
    every = [text for own in texts.values() for text in own]
    labels = np.array([router.tasks.index(name) for name, own in texts.items() for _ in own], dtype=np.int64)
    scores = router.scores(every)
    chosen = scores.probabilities.argmax(axis=1)
    inside = scores.out_of_scope <= router.abstention.threshold
    return [
        Quality("accuracy", of, estimate(mean_rows(chosen == labels))),
        Quality("macro_f1", of, estimate(f1_rows(chosen, labels), f1_statistic, bounds=(0.0, 1.0))),
        Quality("coverage", of, estimate(mean_rows(inside))),
        Quality("ece", of, estimate(ece_rows(scores.probabilities, labels), ece_statistic, bounds=(0.0, 1.0)), False),
    ]


def f1_rows(chosen: Sequence[int] | np.ndarray, labels: np.ndarray) -> Floats:
    """(B, 3N): for each class that is expected whether a text is a hit, a choice, an expectation of it."""
    classes = np.unique(labels)
    ours, theirs = np.asarray(chosen)[:, None] == classes, labels[:, None] == classes
    return np.stack([ours & theirs, ours, theirs], axis=2).reshape(len(labels), -1).astype(np.float64)


def f1_statistic(sums: Floats) -> Floats:
    """(M, 3N) counts -> (M,): F1 of each class, averaged over those that are there."""
    hits, chosen, expected = np.moveaxis(sums.reshape(len(sums), -1, 3), 2, 0)
    there = expected > 0
    f1 = np.divide(2 * hits, chosen + expected, out=np.zeros_like(hits), where=there)
    return np.asarray(f1.sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _scope(router: Router, inside: Sequence[str], outside: Sequence[str], of: str) -> list[Quality]:
    inner, outer = router.scores(inside).out_of_scope, router.scores(outside).out_of_scope
    rejected = outer > router.abstention.threshold
    return [
        Quality("auroc", of, auroc_estimate(inner, outer)),
        Quality("rejected", of, estimate(mean_rows(rejected))),
    ]


def auroc_estimate(inside: Floats, outside: Floats) -> Estimate:
    """The area with the interval of DeLong et al. (1988); Wilson's where their variance is nothing."""
    value, count = auroc(inside, outside), min(len(inside), len(outside))
    if np.isnan(value):
        return Estimate(value, value, value, 0)
    out = np.array([auroc(inside, [one]) for one in outside])
    inner = np.array([auroc([one], outside) for one in inside])
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (out, inner) if len(part) > 1)
    if not variance:
        return Estimate(value, *wilson(value, count), count)
    return Estimate(value, max(0.0, value - Z * sqrt(variance)), min(1.0, value + Z * sqrt(variance)), count)


def held_out(
    router: Router, train: Texts, validation: Texts, asked: Texts, *, seed: int = 0, bank: "Bank | None" = None
) -> list[Quality]:
    """AUROC and the share rejected at the wanted coverage for tasks that a router without them is asked about."""
    names = [name for name in train if asked.get(name)][:FOLDS]
    pairs: list[tuple[Floats, Floats, float]] = []
    with remembering():
        for name in names if len(train) > 2 else ():
            others = {other: texts for other, texts in train.items() if other != name}
            held = {other: texts for other, texts in validation.items() if other != name}
            specs = [part.spec for part in router.parts]
            one = fit(others, held, specs, coverage=router.abstention.coverage, seed=seed, bank=bank)
            inside = [text for other in others for text in asked.get(other, ())]
            pairs.append(
                (one.scores(inside).out_of_scope, one.scores(asked[name]).out_of_scope, one.abstention.threshold)
            )
    if not pairs:
        return []
    rejected = np.concatenate([outer > limit for _, outer, limit in pairs])
    areas = [auroc_estimate(inner, outer) for inner, outer, _ in pairs]
    return [
        Quality("auroc", "held-out tasks", _mean(areas)),
        Quality("rejected", "held-out tasks", estimate(mean_rows(rejected))),
    ]


def _mean(areas: Sequence[Estimate]) -> Estimate:
    """The mean of several areas; their intervals are taken as independent."""
    value = float(np.mean([one.value for one in areas]))
    half = sqrt(sum(((one.high - one.low) / 2) ** 2 for one in areas)) / len(areas)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), sum(one.n for one in areas))


def _latency(router: Router, texts: Sequence[str]) -> list[Quality]:
    """Milliseconds of one decision by itself."""
    chosen = [texts[place] for place in np.linspace(0, len(texts) - 1, min(TIMED, len(texts))).astype(int)]
    router.decide(chosen[:1])
    times = []
    for text in chosen:
        start = time.perf_counter()
        router.decide([text])
        times.append(1000 * (time.perf_counter() - start))
    return [Quality(f"milliseconds, p{share}", "bare text", quantile(times, share / 100), False) for share in (50, 95)]


def quantile(values: Sequence[float], share: float) -> Estimate:
    """A quantile with the interval between two order statistics, by the normal approximation of the binomial."""
    ranked, n = np.sort(np.asarray(values, np.float64)), len(values)
    half = NORMAL.inv_cdf(0.975) * sqrt(n * share * (1 - share))
    low, high = (int(min(max(round(n * share + sign * half), 0), n - 1)) for sign in (-1, 1))
    return Estimate(float(np.quantile(ranked, share)), float(ranked[low]), float(ranked[high]), n)
