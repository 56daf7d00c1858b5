"""Trials side by side on one base with its rows: their stages as one, each trial with numbers of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from tenfold.adapters import Bank
from tenfold.base.head import checkpointing
from tenfold.base.probe import settle
from tenfold.errors import ConfigError
from tenfold.progress import Progress
from tenfold.sweep.candidates import Candidate
from tenfold.sweep.courses import Course, Hooks, measure
from tenfold.training import checks, learner, loop, plan
from tenfold.training.installation import install
from tenfold.training.loading import Loaded
from tenfold.training.loop import State
from tenfold.training.plan import Feed, Stage
from tenfold.training.watch import Interrupt

WIDTHS = (2, 4, 8)
"""Trials in one pass that are tried."""
WORTH = 0.95
"""What a wider pass must take at most of the time of the narrower, for each trial."""


@dataclass
class Bench:
    """An open base with its rows. mixes: whether a trial's own lanes go into one pass, by their number."""

    bank: Bank
    loaded: Loaded
    progress: Progress
    mixes: dict[int, bool] = field(default_factory=dict)

    def train(self, courses: Sequence[Course], interrupt: Interrupt) -> bool:
        """Train trials side by side, into their courses -> whether it was cut short."""
        start = time.perf_counter()
        self.bank.clear()
        stages = [self._begin(course.candidate, f"{course.claim.number} ") for course in courses]
        for course, own in zip(courses, stages, strict=True):
            _require_shape(course.candidate, own, len(stages[0]))
            course.uses = {feed.task: feed.composition for stage in own for lane in stage.lanes for feed in lane.feeds}
        with checkpointing(self.bank.base.model, courses[0].candidate.config.gradient_checkpointing):
            cut = self._run(courses, stages, interrupt)
        for course in courses:
            course.seconds = (time.perf_counter() - start) / len(courses)
        return cut

    def measure_width(self, candidate: Candidate) -> int:
        """How many trials like this one go into one pass: as many as make each of them faster.

        Where a pass does not keep rows apart to the last bit, so that one which fails could spoil others, it is one.
        """
        if settle(self.bank.base).path != "shared":
            return 1
        best, seconds = 1, 0.0
        for width in WIDTHS:
            try:
                found = self._time(candidate, width)
            except torch.OutOfMemoryError:
                break
            if found["mixed"] / width > WORTH * (seconds or found["turns"] / width):
                break
            best, seconds = width, found["mixed"] / width
        self.bank.clear()
        return best

    def _time(self, candidate: Candidate, width: int) -> dict[str, float]:
        self.bank.clear()
        stages = [self._begin(candidate, f"{number} ")[0] for number in range(width)]
        return loop.faster_mixed(self._join([candidate] * width, stages))

    def _run(self, courses: Sequence[Course], stages: Sequence[list[Stage]], interrupt: Interrupt) -> bool:
        """The first stage of all, then the second, and so on."""
        before = 0
        for number in range(len(stages[0])):
            going = [place for place, course in enumerate(courses) if not course.ended]
            if not going:
                return False
            state = self._join(
                [courses[place].candidate for place in going], [stages[place][number] for place in going]
            )
            if self._train_stage(state, [courses[place] for place in going], before, interrupt):
                return True
            before += state.stage.steps
        if len(stages[0]) > 1:
            self._judge([course for course in courses if not course.ended], before)
        return False

    def _train_stage(self, state: State, courses: Sequence[Course], before: int, interrupt: Interrupt) -> bool:
        numbered = {str(course.claim.number): course for course in courses}
        lanes = {lane.name: numbered[lane.name.partition(" ")[0]] for lane in state.stage.lanes}
        what = courses[0].candidate.legend if len(courses) == 1 else f"{len(courses)} trials side by side"
        with self.progress.start(what, state.stage.steps, "steps") as bar:
            hooks = Hooks(lanes, self.loaded.validation, interrupt, before)
            while state.done < state.stage.steps:
                loop.step(state, hooks)
                state.done += 1
                bar.advance()
                if hooks.after(state.done, state):
                    break
        learner.release(state.bank, state.learners)
        return interrupt.wanted and not hooks.over(state)

    def _judge(self, courses: Sequence[Course], step: int) -> None:
        """What every task scores after the last stage, with what was last active on its rows."""
        uses = [(course, task, used) for course in courses for task, used in course.uses.items()]
        feeds = [Feed(task, used, 0) for _, task, used in uses]
        for (course, task, _), scores in zip(uses, measure(self.bank, feeds, self.loaded.validation), strict=True):
            course.judge(task, step, scores)

    def _begin(self, candidate: Candidate, prefix: str) -> list[Stage]:
        """A trial's adapters in the bank, under names of their own, and its stages with those names."""
        config, bank, rows, there = candidate.config, self.bank, self.loaded.rows, set(self.bank.adapters)
        with config.locating():
            install(config, bank, rows, self.progress)
            stages = plan.make(config, {name: len(own) for name, own in rows.items()}, heads=bool(bank.base.heads))
            checks.require_rows(stages, rows)
            checks.require_heads(config, stages, bank)
            checks.require_prompts(config, bank.base)
        names = {name: prefix + name for name in bank.adapters if name not in there}
        for name, other in names.items():
            bank.rename(name, other)
        return [plan.rename(stage, names, prefix) for stage in stages]

    def _join(self, candidates: Sequence[Candidate], stages: Sequence[Stage]) -> State:
        """Their stages as one, in one pass where there are several."""
        states = [self._state(candidate, stage) for candidate, stage in zip(candidates, stages, strict=True)]
        state = loop.join(states, mixed=len(candidates) > 1)
        if len(candidates) == 1:
            state.mixed = self._mixes(candidates[0], state)
        return state

    def _state(self, candidate: Candidate, stage: Stage) -> State:
        state = loop.begin(self.bank, stage, self.loaded.rows, seed=candidate.config.seed, mixed=False)
        state.names = {name: name.partition(" ")[2] for name in self.bank.adapters}
        return state

    def _mixes(self, candidate: Candidate, state: State) -> bool:
        """Whether the lanes of a trial that is alone go into one pass, as its config says, measured once."""
        lanes = len(state.stage.lanes)
        if candidate.config.interleave != "auto" or lanes < 2:
            return candidate.config.interleave == "mixed"
        if lanes not in self.mixes:
            seconds = loop.faster_mixed(state)
            self.mixes[lanes] = seconds["mixed"] < seconds["turns"]
        return self.mixes[lanes]


def _require_shape(candidate: Candidate, stages: list[Stage], count: int) -> None:
    """Trials side by side have as many stages as one another, and none trains the base."""
    assert not any(stage.trains_base for stage in stages), "a stage trains the base"
    if len(stages) != count:
        raise ConfigError(f"{candidate.legend}: {len(stages)} stages beside {count}; give side_by_side: 1")
