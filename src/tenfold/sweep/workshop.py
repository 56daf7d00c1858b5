"""The base and the rows that trials stand on: loaded once, and kept as long as the next trial stands on the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.adapters import Bank
from tenfold.progress import Progress
from tenfold.sweep import leaks
from tenfold.sweep.bench import Bench
from tenfold.sweep.candidates import DATA, Candidate
from tenfold.sweep.courses import Course
from tenfold.training import loading
from tenfold.training.watch import Interrupt


@dataclass
class Workshop:
    """Opens what trials stand on. strict: rows that leak between splits are an error.

    widths: how many trials go into one pass, by place, once it was measured.
    """

    progress: Progress
    strict: bool
    place: str = ""
    standing: dict[str, Any] = field(default_factory=dict)
    bench: Bench | None = None
    widths: dict[str, int] = field(default_factory=dict)

    def open(self, candidate: Candidate) -> Bench:
        """The bench of a trial. Raises DataError and ConfigError for rows that can't be trained on or judged by."""
        if self.bench and self.place == candidate.place:
            return self.bench
        config, standing = candidate.config, candidate.config.model_dump(include=set(DATA))
        base = self.bench.bank.base if self.bench and self.standing == standing else None
        if self.bench:
            self.bench.bank.clear()
            self.bench = None  # before another base stands beside it
        loaded = loading.load(config, config.base_model, self.progress, base)
        leaks.check(config, loaded.tasks, self.strict, self.progress)
        assert loaded.base, "no base"
        self.place, self.standing = candidate.place, standing
        self.bench = Bench(Bank(loaded.base), loaded, self.progress)
        return self.bench

    def width(self, candidate: Candidate, most: int) -> int:
        """How many trials like this one go into one pass, by measurement."""
        if most < 2:
            return most
        if candidate.place not in self.widths:
            found = self.open(candidate).measure_width(candidate)
            told = f"{found} trials in one pass" if found > 1 else "one trial after the other is fastest"
            self.progress.note(f"side by side: {told}")
            self.widths[candidate.place] = found
        return min(most, self.widths[candidate.place])

    def train(self, courses: Sequence[Course], interrupt: Interrupt) -> bool:
        """Train trials of one place side by side, into their courses -> whether it was cut short."""
        return self.open(courses[0].candidate).train(courses, interrupt)
