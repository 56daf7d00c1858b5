"""Trials kept in Optuna's database: claimed by one process, given back when that is gone, finished once.

A trial is known by its point's key. Those that are planned are put in by whoever finds them missing; should two
processes do so at once, the later trial of a key is surplus and is never run.
"""

import json
import time
import uuid
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tenfold import plugins
from tenfold.errors import RunError
from tenfold.progress import Progress
from tenfold.store import atomic
from tenfold.sweep.document import Sweep
from tenfold.sweep.points import Point
from tenfold.sweep.settings import RangeSettings
from tenfold.training import identity

DATABASE = "study.sqlite3"
WORKERS = "workers"
GRACE = 900.0
"""Seconds without a sign after which a trial of another machine is taken for dead."""
BEAT, MOMENT = 20.0, 30.0
"""Seconds between signs, and from taking a trial to saying who has it."""
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@dataclass(frozen=True)
class Kept:
    """A trial as the database has it. record: what it left, {} before its end."""

    number: int
    state: str
    point: Point
    value: float | None
    record: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether it is never run again."""
        return self.state in ("complete", "pruned", "failed")


@dataclass
class Claim:
    """A trial that this process runs."""

    trial: Any
    point: Point
    beaten: float = field(default_factory=time.monotonic)

    @property
    def number(self) -> int:
        """Its number in the study."""
        return int(self.trial.number)

    def report(self, value: float, step: int) -> bool:
        """Say what it has reached -> whether it should end here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a step that was reported before the process was killed
            self.trial.report(value, step)
        return bool(self.trial.should_prune())

    def beat(self) -> None:
        """Say now and then that it is still being run."""
        if time.monotonic() - self.beaten > BEAT:
            self.beaten = time.monotonic()
            self.trial.set_user_attr("beat", time.time())


class Study:
    """The trials of a sweep. Open it once in a process, in a ``with`` block."""

    def __init__(self, sweep: Sweep, *, overwrite: bool = False) -> None:
        self.sweep, self.folder = sweep, sweep.output_dir
        self.optuna = plugins.optional("optuna", "sweep", "tenfold sweep needs")
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        self.token = uuid.uuid4().hex
        with atomic.told(self.folder):
            (self.folder / WORKERS).mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(self._lock(self.token))
            self.lock.acquire()
        self.storage = self._storage()
        self.study = self._open(overwrite)

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *exception: object) -> None:
        self.lock.release()
        self._lock(self.token).unlink(missing_ok=True)

    def trials(self) -> list[Kept]:
        """All but surplus ones, in order."""
        return [self._kept(one) for one in self._listed()]

    def want(self, points: Iterable[Point]) -> None:
        """Put in what is missing of these."""
        there = {one.point.key for one in self.trials()}
        for point in points:
            if point.key not in there:
                there.add(point.key)
                self.study.enqueue_trial(self._encode(point), user_attrs=_named(point))

    def propose(self) -> bool:
        """Put in a point that the sampler finds, with each of the sweep's seeds -> whether it is a new one."""
        first, *others = self.sweep.seeds
        trial = self.study.ask()
        if "key" in trial.user_attrs:  # somebody else has put it in just now
            return self._set(trial.number, "WAITING")
        point = Point("", self._suggest(trial), first)
        if any(one.point.key == point.key for one in self.trials()):
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            return False
        for name, value in _named(point).items():
            trial.set_user_attr(name, value)
        self.want(Point("", point.settings, seed) for seed in others)
        return self._set(trial.number, "WAITING")

    def claim(self, point: Point) -> Claim | None:
        """Take a waiting trial; None where another process has it by now."""
        for one in self._listed():
            if one.state.name == "WAITING" and one.user_attrs["key"] == point.key:
                try:
                    if not self._set(one.number, "RUNNING"):
                        return None
                except self.optuna.exceptions.UpdateFinishedTrialError:
                    return None
                trial = self.optuna.Trial(self.study, one._trial_id)  # as Study.ask makes it
                trial.set_user_attr("beat", time.time())
                trial.set_user_attr("worker", self.token)
                self._suggest(trial)
                return Claim(trial, point)
        return None

    def finish(self, claim: Claim, state: str, value: float | None, record: dict[str, Any]) -> None:
        """Keep what a trial left. state: complete, pruned or failed."""
        claim.trial.set_user_attr("record", record)
        name = next(key for key, own in STATES.items() if own == state)
        told = {"state": self.optuna.trial.TrialState[name]} | ({"values": value} if state == "complete" else {})
        self.study.tell(claim.trial, skip_if_finished=True, **told)

    def put_back(self, claims: Sequence[Claim]) -> None:
        """Let others run these."""
        for claim in claims:
            self._release(claim.number)

    def revive(self, progress: Progress) -> None:
        """Put trials of processes that are gone back among those that wait."""
        running = [one for one in self._listed() if one.state.name == "RUNNING"]
        dead = {worker for worker in {one.user_attrs.get("worker") for one in running} if self._dead(worker)}
        gone = [one for one in running if one.user_attrs.get("worker") in dead or self._silent(one)]
        for one in gone:
            self._release(one.number)
        for worker in dead:
            self._lock(worker).unlink(missing_ok=True)
        if gone:
            numbers = ", ".join(str(one.number) for one in gone)
            progress.note(f"trial {numbers}: the process that ran it is gone; it is run again")

    def _dead(self, worker: str | None) -> bool:
        """Whether a process of this folder has ended: nobody holds its lock."""
        if worker in (None, self.token) or not self._lock(worker).exists():
            return False
        try:
            with FileLock(self._lock(worker)).acquire(timeout=0):
                return True
        except Timeout:
            return False

    def _silent(self, one: Any) -> bool:
        """Whether a trial whose process has no lock here has been heard of for long, or never."""
        worker = one.user_attrs.get("worker")
        if worker is None:
            return bool((datetime.now() - one.datetime_start).total_seconds() > MOMENT)
        if worker == self.token or self._lock(worker).exists():
            return False
        return bool(time.time() - one.user_attrs["beat"] > GRACE)

    def _release(self, number: int) -> None:
        """Nobody has a trial any more."""
        identifier = self.study.get_trials(deepcopy=False)[number]._trial_id
        self.storage.set_trial_user_attr(identifier, "worker", None)
        self._set(number, "WAITING")

    def _listed(self) -> list[Any]:
        """The trials of Optuna's that count: of each key the first."""
        found: dict[str, Any] = {}
        for one in self.study.get_trials(deepcopy=False):
            key = one.user_attrs.get("key")
            if key is not None:
                found.setdefault(key, one)
        return list(found.values())

    def _kept(self, one: Any) -> Kept:
        attributes = one.user_attrs
        point = Point(attributes["group"], attributes["settings"], attributes["seed"])
        state = STATES[one.state.name]
        value = one.value if state == "complete" else None
        return Kept(one.number, state, point, value, attributes.get("record", {}) if state != "running" else {})

    def _set(self, number: int, state: str) -> bool:
        identifier = self.study.get_trials(deepcopy=False)[number]._trial_id
        return bool(self.storage.set_trial_state_values(identifier, self.optuna.trial.TrialState[state]))

    def _lock(self, token: str | None) -> Path:
        return self.folder / WORKERS / f"{token}.lock"

    def _storage(self) -> Any:
        given = self.sweep.settings.storage
        url = given or f"sqlite:///{(self.folder / DATABASE).resolve()}"
        try:
            return self.optuna.storages.get_storage(url)
        except Exception as error:  # noqa: BLE001  a database may refuse in any way
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise RunError(f"storage: cannot open {given or self.folder / DATABASE}: {first[0]}") from None

    def _open(self, overwrite: bool) -> Any:
        name = self.folder.resolve().name if self.sweep.settings.storage else "sweep"
        if overwrite and name in self.optuna.study.get_all_study_names(self.storage):
            self.optuna.delete_study(study_name=name, storage=self.storage)
        study = self.optuna.create_study(
            study_name=name, storage=self.storage, direction="minimize", load_if_exists=True, pruner=self._pruner()
        )
        study.sampler = self._sampler(len(study.get_trials(deepcopy=False)))
        described = json.loads(json.dumps(self.sweep.describe()))
        if (before := study.user_attrs.get("sweep")) is not None:
            identity.require_same(self.folder, before, described)
        study.set_user_attr("sweep", described)
        return study

    def _pruner(self) -> Any:
        kinds = self.optuna.pruners
        return {"none": kinds.NopPruner, "median": kinds.MedianPruner, "halving": kinds.SuccessiveHalvingPruner}[
            self.sweep.settings.pruner
        ]()

    def _sampler(self, there: int) -> Any:
        """Seeded by the sweep and by how many trials there are, so that what goes on proposes nothing twice."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant_liar is marked experimental
            return self.optuna.samplers.TPESampler(seed=(self.sweep.settings.seed + there) % 2**32, constant_liar=True)

    def _encode(self, point: Point) -> dict[str, Any]:
        """A point as Optuna's parameters: choices as JSON, so that lists can be among them."""
        search = self.sweep.settings.search
        return {
            key: value if isinstance(search[key], RangeSettings) else json.dumps(value)
            for key, value in point.settings.items()
            if key in search
        }

    def _suggest(self, trial: Any) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ranges that no whole number of steps fills
            return {key: _suggest_one(trial, key, one) for key, one in self.sweep.settings.search.items()}


def _named(point: Point) -> dict[str, Any]:
    return {"key": point.key, "group": point.group, "settings": dict(point.settings), "seed": point.seed}


def _suggest_one(trial: Any, key: str, one: list[Any] | RangeSettings) -> Any:
    if isinstance(one, list):
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in one]))
    if one.whole:
        return trial.suggest_int(key, one.low, one.high, log=one.log, step=one.step or 1)
    return trial.suggest_float(key, one.low, one.high, log=one.log, step=one.step)
