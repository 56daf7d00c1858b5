"""What a request may name as its model: the base, a task with its adapters, one adapter, or a mixture of these."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tenfold.adapters import BASE, Composition
from tenfold.errors import AdapterError, ConfigError
from tenfold.evaluate import BASE_LABEL
from tenfold.runs import mix
from tenfold.tasks.prompts import Template
from tenfold.tasks.settings import TaskSettings

AUTO = "auto"
"""The name that leaves the choice to the router."""
MOST_PARTS = 8


@dataclass(frozen=True)
class Skill:
    """parts: adapters by their names in the pool, with weights. settings: the task's prompt and how answers end.

    mixed: whether a request put it together.
    """

    name: str
    parts: Composition = BASE
    settings: TaskSettings = field(default_factory=TaskSettings)
    mixed: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the task's template; () where it has none."""
        if self.settings.prompt is not None:
            return Template.parse(self.settings.prompt).columns
        return ("instruction", "input") if self.settings.data_format == "alpaca" else ()

    @property
    def converses(self) -> bool:
        """Whether it takes a conversation of several messages; a task with a template answers one text."""
        raw, template = self.settings.prompt_style == "raw", self.settings.prompt is not None
        return not (raw or template or self.settings.data_format == "alpaca")


class Skills:
    """The skills by name. Any number of threads may share it."""

    def __init__(self, skills: Iterable[Skill] = ()) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Skill] = {}
        for skill in skills:
            self.add(skill)

    def add(self, skill: Skill) -> None:
        """A new one. Raises AdapterError for a name in use or one that means something else."""
        with self._lock:
            if skill.name in self._known or skill.name in (AUTO, BASE_LABEL):
                raise AdapterError(f"the name {skill.name!r} is taken; give it another")
            self._known[skill.name] = skill

    def put(self, skill: Skill) -> None:
        """In place of the one of its name, or a new one."""
        with self._lock:
            self._known[skill.name] = skill

    def remove(self, name: str) -> None:
        """Forget one, and all that need its adapter."""
        with self._lock:
            gone = [one.name for one in self._known.values() if name in {part for part, _ in one.parts}]
            for one in {name, *gone}:
                self._known.pop(one, None)

    def all(self) -> list[Skill]:
        """All but the base, in order of their names."""
        with self._lock:
            return [self._known[name] for name in sorted(self._known)]

    def find(self, model: str) -> Skill:
        """The skill of a name, or a mixture: ``a:0.5+b:0.5``. Raises AdapterError for what is not there."""
        with self._lock:
            known = dict(self._known)
        if model == BASE_LABEL:
            return Skill(BASE_LABEL)
        return known[model] if model in known else _mixture(model, known)


def names(model: str) -> list[str]:
    """The names in a mixture, or the one name."""
    return [part.partition(":")[0] for part in model.split("+")]


def _mixture(model: str, known: Mapping[str, Skill]) -> Skill:
    """A mixture takes the prompt of its first part."""
    parts = names(model)
    if any(name not in known for name in parts) or len(parts) > MOST_PARTS:
        raise AdapterError(f"no model {model!r:.200}")
    try:
        composition = mix(model, {name: skill.parts for name, skill in known.items()})
    except ConfigError as error:
        raise AdapterError(str(error)) from None
    return Skill(model, composition, known[parts[0]].settings, mixed=True)
