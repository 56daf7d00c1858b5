"""What every task scores, before the first stage, after each, and at the end of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tenfold import evaluate, runs
from tenfold.adapters import Bank, Composition
from tenfold.config import Config, active
from tenfold.evaluate import BASE_LABEL, BEFORE, CaseSet, Item
from tenfold.evaluate.drift import SPLIT, kept_general
from tenfold.evaluate.evaluation import count_parameters
from tenfold.evaluate.pairs import find_cases
from tenfold.evaluate.preparation import prepare
from tenfold.progress import Progress
from tenfold.store import RunFolder
from tenfold.tasks import Task
from tenfold.training.plan import Stage

Sets = list[CaseSet]


@dataclass
class Measurements:
    """known: by label the sets that still hold. base: the base as it came, on every task."""

    config: Config
    folder: RunFolder
    tasks: Sequence[Task]
    stages: Sequence[Stage]
    progress: Progress
    known: dict[str, Sets] = field(default_factory=dict)
    base: Sets = field(default_factory=list)
    based: bool = False

    @property
    def wanted(self) -> bool:
        """Whether every stage is measured."""
        given, several = self.config.evaluate_stages, len(self.stages) > 1
        return (several and self.config.schedule in ("sequential", "custom")) if given is None else given

    @property
    def keeps_base(self) -> bool:
        """Whether the base as it came must be measured before it is gone."""
        return self.wanted or any(stage.trains_base for stage in self.stages)

    def before(self, bank: Bank, based: bool) -> None:
        """Measure the base, and what is brought along, before any training, or read what was measured then.

        based: whether the bank stands on a base that was trained since.
        """
        self.based = based
        if not self.keeps_base:
            return
        if (kept := self._read(bank)) or based:
            self.base = kept
            self.known = {} if based else {BASE_LABEL: kept}
            return
        found = self._measure(bank, active.start(self.config))
        if any(stage.trains_base for stage in self.stages):
            found = self._drift(bank, found)
        self.base = [one for one in found if one.adapter == BASE_LABEL]
        if self.wanted or len(self.stages) > 1:
            evaluate.save(self.folder.path, found, stage=BEFORE, seed=self.config.seed)

    def after(self, bank: Bank, stage: Stage) -> None:
        """Measure every task with everything that there is after a stage, what it changed anew."""
        self.based = self.based or stage.trains_base
        changed = set(stage.learners)
        self.known = {
            label: sets
            for label, sets in self.known.items()
            if not stage.trains_base and not any(name in changed for one in sets for name, _ in one.composition)
        }
        if self.wanted:
            sets = self._with_base(self._measure(bank, stage.present))
            evaluate.save(self.folder.path, sets, stage=stage.number, seed=self.config.seed)

    def last(self, bank: Bank) -> Sets:
        """What holds at the end of the run."""
        if self.wanted:
            return self._with_base(self._drift(bank, self._measure(bank, self.stages[-1].present)))
        items = runs.measure_items(self.tasks, lambda task: self._usual(bank, task))
        return self._with_base(self._drift(bank, evaluate.evaluate(bank, items, progress=self.progress)))

    def names(self, bank: Bank, labels: Iterable[str]) -> list[str]:
        """The adapters in the bank that labels mean."""
        heads = bool(bank.base.heads)
        meant = {name for label in labels for name, _ in active.meant(self.config, label, heads)}
        return [name for name in bank.adapters if name in meant]

    def parameters(self, bank: Bank) -> list[int]:
        """How many the model has after each stage: the base's and those of what there is by then."""
        whole = sum(count_parameters(bank, ()).values())
        return [whole + sum(bank.get(name).size for name in self.names(bank, s.present)) for s in self.stages]

    def _usual(self, bank: Bank, task: Task) -> dict[str, Composition]:
        """What a task is measured with at the end of a run: the base, its own adapter, all together."""
        return runs.labelled(self.config, bank, task, runs.present(self.config, bank), based=self.based)

    def _drift(self, bank: Bank, sets: Sets) -> Sets:
        """The sets, and what the usual compositions among them do to the base's general ability."""
        usual = {task.name: self._usual(bank, task) for task in self.tasks}
        chosen = [number for number, one in enumerate(sets) if one.adapter in usual[one.task]]
        texts = runs.read_texts(self.config)
        found = evaluate.measure_drift(bank, [sets[i] for i in chosen], self.tasks, texts, progress=self.progress)
        measured = dict(zip(chosen, found, strict=False))
        return [*(measured.get(number, one) for number, one in enumerate(sets)), *found[len(chosen) :]]

    def _with_base(self, sets: Sets) -> Sets:
        return [*self.base, *runs.as_full(sets)] if self.based else sets

    def _measure(self, bank: Bank, labels: Iterable[str]) -> Sets:
        """Every task with every composition of what there is; one label at a time, so that what is known stays so."""
        chosen = list(labels)
        items = runs.measure_items(
            self.tasks,
            lambda task: runs.labelled(self.config, bank, task, chosen, based=self.based, cross=True),
        )
        for label in dict.fromkeys(item.adapter for item in items):
            own = [item for item in items if item.adapter == label]
            if not _same(self.known.get(label, []), own):
                self.known[label] = evaluate.evaluate(bank, own, loss=self.wanted, progress=self.progress)
        every = [one for label in dict.fromkeys(item.adapter for item in items) for one in self.known[label]]
        order = [(task.name, split) for task, split in _places(self.tasks)]
        return sorted(every, key=lambda one: order.index((one.task, one.split)))

    def _read(self, bank: Bank) -> Sets:
        """The base's cases as a run that goes on has kept them; none where not all are there."""
        results = evaluate.read_results(self.folder.path / "results.json")
        kept = {(one.task, one.split) for one in results if one.stage == BEFORE and one.adapter == BASE_LABEL}
        found = []
        for task, split in _places(self.tasks):
            if (task.name, split) in kept:
                cases = find_cases(self.folder.path, task.name, split, BASE_LABEL, BEFORE)
                sizes = count_parameters(bank, ())
                prepared = prepare(task, split, bank.base)
                measures = (prepared.with_loss() if self.wanted else prepared).measures
                found.append(CaseSet(task.name, split, BASE_LABEL, (), measures, cases, 0.0, sizes))
        texts = {one.task: find_cases(self.folder.path, one.task, SPLIT, BASE_LABEL, BEFORE) for one in found}
        ones = {one.task: one for one in found}
        return found + [kept_general(cases, ones[task]) for task, cases in texts.items() if cases]


def _places(tasks: Sequence[Task]) -> list[tuple[Task, str]]:
    return [(task, split) for task in tasks for split in task.eval_sets]


def _same(sets: Sets, items: Sequence[Item]) -> bool:
    """Whether the sets are just those that are asked for."""
    return [(one.task, one.split, one.composition) for one in sets] == [
        (item.task.name, item.split, item.composition) for item in items
    ]
