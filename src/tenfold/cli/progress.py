"""Progress drawn with rich: bars on a terminal, a line every ten seconds anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

from tenfold.progress import Progress as Announced
from tenfold.progress import Task

WORTH_A_LINE = 2.0  # seconds; shorter work leaves no line behind
INTERVAL = 10.0  # seconds between lines where there is no terminal


@contextmanager
def drawing(console: Console | None = None, clock: Callable[[], float] = time.perf_counter) -> Iterator[Announced]:
    """A Progress that draws on stderr for the duration of the block."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield Lines(console, clock)
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24),
        Count(""), TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, get_time=clock) as progress:
        yield Bars(progress)


def rate(done: float, seconds: float, unit: str) -> str:
    """Units per second, or seconds per unit where that is more than one; '' before anything is known."""
    if done <= 0 or seconds <= 0:
        return ""
    each = seconds / done
    return f"{1 / each:.{0 if each < 0.01 else 1}f} {unit}/s" if each <= 1 else f"{each:.1f} s/{unit}"


class Count(TextColumn):
    """``12/40 steps  1.3 steps/s``."""

    def render(self, task: RichTask) -> Text:
        """The text of one bar."""
        total = "" if task.total is None else f"/{task.total:,.0f}"
        unit = task.fields["unit"]
        return Text(f"{task.completed:,.0f}{total} {unit}  {rate(task.completed, task.elapsed or 0, unit)}")


class Bars:
    """Progress as bars; what took longer than a moment leaves a line when it is finished."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def start(self, what: str, total: int | None, unit: str) -> Task:
        """A new bar."""
        return Bar(self.progress, self.progress.add_task(what, total=total, unit=unit, note=""))

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.progress.console.print(text, markup=False, highlight=False)


class _Work:
    """A task as a context manager."""

    def finish(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.finish()


class Bar(_Work):
    """One bar."""

    def __init__(self, progress: Progress, number: TaskID) -> None:
        self.progress, self.number = progress, number

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        self.progress.advance(self.number, amount)

    def note(self, text: str) -> None:
        """Replace the words beside the bar."""
        self.progress.update(self.number, note=text)

    def finish(self) -> None:
        """Take the bar away; long work leaves a line."""
        task = next((task for task in self.progress.tasks if task.id == self.number), None)
        if task is None:
            return
        seconds = task.elapsed or 0
        self.progress.remove_task(self.number)
        if seconds >= WORTH_A_LINE:
            line = _summary(task.description, task.completed, task.fields["unit"], seconds, task.fields["note"])
            self.progress.console.print(line, markup=False, highlight=False)


class Lines:
    """Progress for a log file: a line now and then."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.perf_counter) -> None:
        self.console, self.clock = console, clock

    def start(self, what: str, total: int | None, unit: str) -> Task:
        """Work that is heard of after ten seconds, or when it ends after more than a moment."""
        return Line(self, what, total, unit)

    def note(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Line(_Work):
    """One piece of work in a log file."""

    def __init__(self, lines: Lines, what: str, total: int | None, unit: str) -> None:
        self.lines, self.what, self.total, self.unit = lines, what, total, unit
        self.begun = self.spoke = lines.clock()
        self.done, self.words, self.finished = 0, "", False

    def advance(self, amount: int = 1) -> None:
        """Count, and say so every ten seconds."""
        self.done += amount
        now = self.lines.clock()
        if now - self.spoke >= INTERVAL:
            self.spoke = now
            self.lines.note(self._state(now - self.begun))

    def note(self, text: str) -> None:
        """Words for the next line."""
        self.words = text

    def finish(self) -> None:
        """Long work leaves a line."""
        seconds = self.lines.clock() - self.begun
        if not self.finished and seconds >= WORTH_A_LINE:
            self.lines.note(_summary(self.what, self.done, self.unit, seconds, self.words))
        self.finished = True

    def _state(self, seconds: float) -> str:
        total = "" if self.total is None else f"/{self.total:,}"
        parts = [f"{self.what}: {self.done:,}{total} {self.unit}", rate(self.done, seconds, self.unit)]
        if self.total and self.done:
            parts.append(f"{seconds / self.done * (self.total - self.done):.0f} s left")
        return ", ".join(part for part in (*parts, self.words) if part)


def _summary(what: str, done: float, unit: str, seconds: float, words: str) -> str:
    parts = (f"{what}: {done:,.0f} {unit} in {seconds:.1f} s", rate(done, seconds, unit), words)
    return ", ".join(part for part in parts if part)
