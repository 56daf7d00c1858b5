"""A fitted router: what it decides, and how it is kept on disk.

Logits of several kinds are each divided by their own temperature, added, and divided by a last one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from tenfold.errors import ConfigError, RunError, TenfoldError
from tenfold.route import kinds
from tenfold.route.abstention import Abstention
from tenfold.route.calibration import Calibration, Floats, logsumexp, softmax
from tenfold.route.kinds._base import Scorer
from tenfold.route.memory import remembering
from tenfold.route.texts import clean
from tenfold.store import atomic, documents

if TYPE_CHECKING:
    from tenfold.adapters import Bank

FILE, VERSION = "router.json", 1
BATCH = 256
EMPTY, FORCED = "the text is empty", "the most probable, since abstaining is off"


@dataclass(frozen=True)
class Decision:
    """What a text needs.

    adapter: the task whose adapter answers, None where the base does. probability: of the most probable task.
    out_of_scope: higher is further out; infinite for an empty text. reason: one sentence.
    """

    adapter: str | None
    probability: float
    out_of_scope: float
    reason: str


@dataclass(frozen=True)
class Part:
    """One kind's scorer. spec: as the config names it, e.g. ``nearest:embedding``."""

    spec: str
    scorer: Scorer
    temperature: float = 1.0


@dataclass(frozen=True)
class Scores:
    """Of B texts: probabilities (B, N) over the tasks, and how far out of scope each is (B,)."""

    probabilities: Floats
    out_of_scope: Floats


@dataclass(frozen=True)
class Router:
    """Decides between tasks.

    notes: what the user should know about it, one sentence each.
    """

    tasks: tuple[str, ...]
    parts: tuple[Part, ...]
    calibration: Calibration
    abstention: Abstention
    notes: tuple[str, ...] = field(default=())

    def logits(self, texts: Sequence[str]) -> Floats:
        """(B,) texts -> (B, N), before the last temperature."""
        every = [clean(text) for text in texts]
        batches = [every[at : at + BATCH] for at in range(0, len(every), BATCH)]
        found = [sum(p.scorer.logits(batch) / p.temperature for p in self.parts) for batch in batches]
        return np.concatenate([np.zeros((0, len(self.tasks))), *found])

    def scores(self, texts: Sequence[str]) -> Scores:
        """Calibrated probabilities and out-of-scope scores."""
        with remembering():  # both ask for the rows of the same texts
            logits = self.logits(texts) / self.calibration.temperature
            far = self.far(self.abstention.score, texts, logits)
        return Scores(softmax(logits) if len(texts) else logits, far)

    def far(self, score: str, texts: Sequence[str], logits: Floats) -> Floats:
        """One of the out-of-scope scores (B,), from texts and their logits (B, N)."""
        if not len(texts):
            return np.zeros(0)
        if score == "energy":
            return -logsumexp(logits)
        every = [clean(text) for text in texts]
        return np.asarray(np.mean([part.scorer.distances(every) for part in self.parts], axis=0))

    def decide(self, texts: Sequence[str], abstain: bool = True) -> list[Decision]:
        """A decision for each text. abstain: whether None may be the answer."""
        if isinstance(texts, str):
            raise ConfigError("decide takes a list of texts; this is one text")
        found = self.scores(texts)
        return [
            self._decide(text, probabilities, far, abstain)
            for text, probabilities, far in zip(texts, found.probabilities, found.out_of_scope.tolist(), strict=True)
        ]

    def _decide(self, text: str, probabilities: Floats, far: float, abstain: bool) -> Decision:
        best = int(probabilities.argmax())
        task, probability, limit = self.tasks[best], float(probabilities[best]), self.abstention.threshold
        if not clean(text):
            return Decision(None if abstain else task, probability, inf, EMPTY)
        said = f"{self.abstention.score} {far:.3g}"
        if far > limit:
            reason = f"out of scope: {said} is above {limit:.3g}"
            return Decision(None, probability, far, reason) if abstain else Decision(task, probability, far, FORCED)
        reason = "the only task" if len(self.tasks) == 1 else f"the most probable of {len(self.tasks)} tasks"
        return Decision(task, probability, far, f"{reason}; in scope: {said}")

    def mixture(self, text: str, top: int = 2, temperature: float = 1.0) -> dict[str, float]:
        """The ``top`` most probable tasks with weights that sum to one; a higher temperature evens them out."""
        if top < 1 or temperature <= 0:
            raise ConfigError(f"top {top}, temperature {temperature}: must be at least 1, and above 0")
        logits = self.logits([text]) / self.calibration.temperature / temperature
        chosen = np.argsort(-logits[0], kind="stable")[:top]
        weights = softmax(logits[:, chosen])[0]
        return {self.tasks[place]: float(weight) for place, weight in zip(chosen, weights, strict=True)}

    def add(self, task: str, texts: Iterable[str]) -> "Router":
        """The same with one task more, without fitting again. Raises ConfigError for kinds that can't."""
        given = [text for text in map(clean, texts) if text]
        if task in self.tasks or not given:
            raise ConfigError(
                f"task {task!r}: {'is there already' if task in self.tasks else 'no texts to learn from'}"
            )
        grown = [replace(part, scorer=_grow(part, task, given)) for part in self.parts]
        return replace(self, tasks=(*self.tasks, task), parts=tuple(grown))

    def save(self, folder: Path | str) -> None:
        """Write the folder, whole or not at all: ``router.json`` and one safetensors file a kind."""
        with atomic.folder(Path(folder)) as work:
            described = []
            for number, part in enumerate(self.parts):
                values, tensors = part.scorer.save()
                name = f"{number}.safetensors"
                (work / name).write_bytes(
                    safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()})
                )
                described.append({"kind": part.spec, "temperature": part.temperature, "file": name, "values": values})
            head = {"version": VERSION, "tasks": self.tasks, "kinds": described, "notes": self.notes}
            said = {"calibration": asdict(self.calibration), "abstention": asdict(self.abstention)}
            (work / FILE).write_bytes(documents.text({**head, **said}))


def _grow(part: Part, task: str, texts: Sequence[str]) -> Scorer:
    grown = part.scorer.add(task, texts)
    if grown is None:
        raise ConfigError(f"router: {part.spec} takes no task without fitting again; nearest does")
    return grown


def load(folder: Path | str, *, bank: "Bank | None" = None) -> Router:
    """A saved router. bank: for kinds that read the base. Raises RunError for a folder that has none."""
    place = Path(folder)
    if not (place / FILE).is_file():
        raise RunError(f"no router at {place}: it has no {FILE}")
    said = documents.read_object(place / FILE, RunError)
    if said.get("version") != VERSION:
        raise RunError(f"{place / FILE}: version {said.get('version')!r} given; must be {VERSION}")
    try:
        parts = tuple(_part(place, one, bank) for one in said["kinds"])
        router = Router(
            tuple(map(str, said["tasks"])), parts, _floats(Calibration, said["calibration"], nan),
            _floats(Abstention, said["abstention"], inf), tuple(map(str, said["notes"])),
        )  # fmt: skip
        router.decide(["a text"])
    except TenfoldError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RunError(f"{place} holds no router that can be used: {type(error).__name__}: {error}") from None
    return router


def _part(place: Path, said: dict[str, Any], bank: "Bank | None") -> Part:
    kind, _ = kinds.find(said["kind"])
    tensors = safetensors.numpy.load_file(place / Path(said["file"]).name)
    return Part(said["kind"], kind.load(said["values"], tensors, bank), float(said["temperature"]))


def _floats(kind: type[Any], said: dict[str, Any], absent: float) -> Any:
    """A record of numbers, of which JSON has no infinities and no nan."""
    return kind(**{key: absent if value is None else value for key, value in said.items()})
