"""A run's router: fitted from the rows that its adapters learnt from, and measured by what its choices cost."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from tenfold import evaluate, route, runs
from tenfold.adapters import BASE, Composition
from tenfold.errors import ConfigError, RunError
from tenfold.evaluate import BASE_LABEL, CaseSet, Result
from tenfold.evaluate.results import ROUTER, merge_results, read_results, write_results
from tenfold.progress import SILENT, Progress
from tenfold.route import Router, choices, outcome, quality, rows
from tenfold.route.quality import Quality
from tenfold.runs import Run, compositions
from tenfold.statistics import estimate, mean_rows
from tenfold.tasks import Task

ROUTED, TOP = "routed", "top1"
SOFT, RANDOM, MERGED, MIXTURE = "soft", "random", "merged", "mixture"


def fit(
    run: Run, kinds: Sequence[str] | None = None, *, tasks: Sequence[Task] | None = None, progress: Progress = SILENT
) -> Router:
    """Fit the run's router again and keep it in the run.

    kinds: those of the run's config by default. Raises ConfigError for a run without adapters or with ``router: none``.
    """
    chosen = list(kinds or run.config.router_kinds)
    owned = compositions(run.config, run.bank)
    train, held = rows.training_texts([task for task in tasks or run.tasks() if task.name in owned])
    if not chosen or not train:
        raise ConfigError("router: none given; name a kind" if owned else "router: no task of this run has an adapter")
    router = route.fit(
        train, held, chosen, coverage=run.config.router_coverage, seed=run.config.seed, bank=run.bank, progress=progress
    )
    router.save(run.folder.router)
    run.router = router
    return router


def conclude(run: Run, tasks: Sequence[Task], progress: Progress = SILENT) -> list[Result]:
    """After a training: fit the router where the config wants one, and measure its choices; kept in the run."""
    there = compositions(run.config, run.bank)
    owned = [task for task in tasks if task.name in there]
    if not run.config.router_kinds or (run.config.router == ["auto"] and len(set(there.values())) < 2):
        return []
    if not any(text for task in owned for text in rows.texts(task.train)):
        return []
    fit(run, tasks=tasks, progress=progress)
    measured = [task for task in owned if task.eval_sets]
    return measure(run, measured, progress=progress) if measured else []


def measure(
    run: Run, tasks: Sequence[Task], *, ood: Sequence[str] = (), full: bool = False, soft: int = 2,
    temperature: float = 1.0, mixture: Path | None = None, progress: Progress = SILENT,
) -> list[Result]:  # fmt: skip
    """The quality of the choices, and the tasks' metrics when routed; kept in the run's results and cases.

    ``routed`` rows go to the base where the router abstains, ``top1`` rows to their most probable adapter always.

    full: beside these held-out tasks, and the metrics of random, soft and merged adapters, and of ``mixture``, a run
    whose one adapter learnt all tasks. ood: texts of no task. soft, temperature: of the soft mixture.
    Of classification only the choices are measured.
    """
    found = judge(run, tasks, ood, full)
    choices.keep(run.folder.router, choices.count(run.router, _asked(tasks)))
    if run.bank.base.family == "classification":  # another task's head has other classes: no answer to this one
        return _keep(run, found)
    known = _known(run, tasks, progress)
    owned = compositions(run.config, run.bank)
    chosen = {label: outcome.routed(run.router, tasks, owned, label == ROUTED) for label in (ROUTED, TOP)}
    if full:
        chosen[SOFT] = outcome.softly(run.router, tasks, owned, soft, temperature)
        chosen[RANDOM] = outcome.randomly(tasks, owned, run.config.seed)
        chosen[MERGED] = outcome.merged(tasks, owned)
    sets = {label: outcome.assemble(run.bank, tasks, known, one, label, progress) for label, one in chosen.items()}
    if mixture:
        sets[MIXTURE] = _mixture(mixture, tasks, progress)
    bases = [one for one in known if not one.composition]
    results = evaluate.save(
        run.folder.path, [*bases, *(one for own in sets.values() for one in own)], seed=run.config.seed
    )
    for label in (ROUTED, TOP):
        found += costs(label, sets[label], known, owned, chosen[label])
    return [*(one for one in results if one.adapter in sets), *_keep(run, found)]


def judge(run: Run, tasks: Sequence[Task], ood: Sequence[str] = (), full: bool = False) -> list[Quality]:
    """The choices on evaluation rows as users would type them, and inside the next task's template."""
    asked = _asked(tasks)
    others = dict(zip([task.name for task in tasks], islice(cycle(tasks), 1, None), strict=False))
    wrapped = {
        name: [rows.wrapped(text, others[name].settings) for text in texts]
        for name, texts in asked.items()
        if others[name].name != name
    }
    found = quality.measure(run.router, asked, wrapped, ood)
    if full:
        train, held = rows.training_texts(tasks)
        found += quality.held_out(run.router, train, held, asked, seed=run.config.seed, bank=run.bank)
    return found


def _asked(tasks: Sequence[Task]) -> dict[str, list[str]]:
    return {task.name: [text for own in task.eval_sets.values() for text in rows.texts(own)] for task in tasks}


def costs(
    label: str,
    sets: Sequence[CaseSet], known: Sequence[CaseSet], owned: Mapping[str, Composition],
    chosen: Mapping[tuple[str, str], Sequence[Composition]],
) -> list[Quality]:  # fmt: skip
    """Of metrics that score single rows: the share of the oracle's score that is kept, and what a misroute loses."""
    own = {(one.task, one.split): one.cases for one in known if one.composition == owned.get(one.task)}
    scores: dict[str, list[tuple[float, float, bool]]] = {}
    for one in sets:
        oracle = own.get((one.task, one.split), [])
        for case, best, given in zip(one.cases, oracle, chosen[one.task, one.split], strict=False):
            for metric in case.scores.keys() & best.scores.keys():
                kept = case.scores[metric], best.scores[metric], given != owned[one.task]
                scores.setdefault(metric, []).append(kept)
    found = []
    for metric, pairs in sorted(scores.items()):
        found.append(
            Quality(
                f"share of the oracle's {metric}", f"{label} rows", estimate(np.array([(a, b) for a, b, _ in pairs]))
            )
        )
        if lost := [b - a for a, b, wrong in pairs if wrong]:
            found.append(
                Quality(f"{metric} lost by a misroute", f"misrouted {label} rows", estimate(mean_rows(lost)), False)
            )
    return found


def _known(run: Run, tasks: Sequence[Task], progress: Progress) -> list[CaseSet]:
    """The cases of the base and of the tasks' own adapters, measured now where the run has not kept them."""
    found = []
    for task in tasks:
        labels = {BASE_LABEL: BASE, task.name: compositions(run.config, run.bank)[task.name]}
        kept = outcome.kept(run.folder.cases, [task], labels, run.bank)
        there = {(one.split, one.adapter) for one in kept}
        items = [
            evaluate.Item(task, split, label, one)
            for split in task.eval_sets
            for label, one in labels.items()
            if (split, label) not in there and (one or run.bank.base.answers(len(task.settings.classes)))
        ]
        found += [*kept, *evaluate.evaluate(run.bank, items, progress=progress)]
    return found


def _mixture(place: Path, tasks: Sequence[Task], progress: Progress) -> list[CaseSet]:
    """The tasks' rows under the one adapter of another run. Raises RunError for a run that has several."""
    other = runs.load(place, progress=progress)
    owned = set(compositions(other.config, other.bank).values())
    if len(owned) != 1:
        raise RunError(
            f"{place} has the adapters {', '.join(other.bank.adapters)}; a mixture run has one for all tasks"
        )
    items = [evaluate.Item(task, split, MIXTURE, *owned) for task in tasks for split in task.eval_sets]
    return evaluate.evaluate(other.bank, items, progress=progress)


def _keep(run: Run, found: Sequence[Quality]) -> list[Result]:
    """As results of the run, of a task called ``router``."""
    kinds = "+".join(part.spec for part in run.router.parts)
    results = [
        Result(
            task=ROUTER, split=one.of, adapter=kinds, composition=((ROUTER, 1.0),), stage=None, seed=run.config.seed,
            metric=one.metric, value=one.found.value, low=one.found.low, high=one.found.high, n=one.found.n,
            higher_is_better=one.higher_is_better,
        )
        for one in found
    ]  # fmt: skip
    path = run.folder.path / "results.json"
    write_results(path, merge_results(read_results(path), results))
    return results
