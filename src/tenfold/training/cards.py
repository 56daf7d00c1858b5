"""The cards of a run's adapters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenfold.adapters import Bank
from tenfold.config import Config, ResolvedTask
from tenfold.evaluate import Result
from tenfold.store import card
from tenfold.training import identity

PROMPT = {"prompt", "response", "system", "prompt_style", "labels", "options", "data_format",
          "max_new_tokens", "stop"}  # fmt: skip


@dataclass(frozen=True)
class Cards:
    """data: the digest of each task's training rows."""

    config: Config
    bank: Bank
    data: Mapping[str, str]

    def all(self) -> dict[str, card.Card]:
        """Of every adapter in the bank."""
        return {name: self.make(name) for name in self.bank.adapters}

    def make(self, name: str, metrics: dict[str, float | None] | None = None) -> card.Card:
        """What stands beside an adapter's tensors; one of several tasks has the prompts of all of them."""
        tasks = self.config.users(name)
        own = self.bank.get(name).config.model_dump()
        if not tasks:
            return card.describe(self.bank.base, metrics=metrics, settings=own)
        trained = [task for task in tasks if task.task.train]
        alone = tasks[0] if len(tasks) == 1 else None
        return card.describe(
            self.bank.base,
            task=alone.name if alone else None,
            composition=list(tasks[0].adapters or (name,)),
            prompt=_prompt(alone) if alone else None,
            tasks=None if alone else {task.name: _prompt(task) for task in tasks},
            data=identity.join([self.data[task.name] for task in trained]),
            metrics=metrics,
            settings={**(trained[0].training.model_dump() if trained else {}), **own},
        )

    def metrics(self, results: Sequence[Result]) -> dict[str, dict[str, float | None]]:
        """Of each adapter what its task (each of its tasks) scored with it and what belongs to it, by name."""
        return {name: self._metrics(results, self.config.users(name)) for name in self.bank.adapters}

    def _metrics(self, results: Sequence[Result], tasks: Sequence[ResolvedTask]) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for task in tasks:
            before = f"{task.name}/" if len(tasks) > 1 else ""
            label = "full" if task.full else task.label
            own = [one for one in results if (one.task, one.adapter) == (task.name, label)]
            found |= {f"{before}{one.split}/{one.metric}": one.value for one in own}
        return found


def _prompt(task: ResolvedTask) -> dict[str, object]:
    return task.task.model_dump(include=PROMPT)
