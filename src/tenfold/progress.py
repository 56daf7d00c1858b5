"""What long work says about itself while it runs. Library code takes a Progress; only cli/ draws one."""

from typing import Protocol, Self


class Task(Protocol):
    """One piece of work that is under way; leaving its ``with`` block finishes it."""

    def advance(self, amount: int = 1) -> None:
        """So many more units are done."""

    def note(self, text: str) -> None:
        """A few words that stand beside the bar, e.g. the loss; the next note replaces them."""

    def finish(self) -> None:
        """Nothing more comes, whether or not the total was reached."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Progress(Protocol):
    """Where work is announced."""

    def start(self, what: str, total: int | None, unit: str) -> Task:
        """Begin ``what``, e.g. ("training dates", 40, "steps"); total None where nobody knows it."""

    def note(self, text: str) -> None:
        """One line that stays, e.g. a validation result."""


class _SilentTask:
    def advance(self, amount: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class _Silent:
    def start(self, what: str, total: int | None, unit: str) -> Task:
        return _SilentTask()

    def note(self, text: str) -> None:
        pass


SILENT: Progress = _Silent()
"""The default everywhere: says nothing."""
