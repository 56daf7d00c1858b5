"""Inputs that stand in more than one split: what is measured must not have been learnt."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tenfold.tasks.task import Task

Place = tuple[str, str]


@dataclass(frozen=True)
class Overlap:
    """Inputs of an evaluation or validation split that stand in another split, maybe of another task."""

    task: str
    split: str
    in_task: str
    in_split: str
    rows: int
    of: int
    example: str

    def __str__(self) -> str:
        """One sentence."""
        return (
            f"{self.task} {self.split}: {self.rows} of {self.of} inputs stand in {self.in_task} "
            f"{self.in_split} too, e.g. {self.example[:60]!r}"
        )


def normalise(text: str) -> str:
    """Text as it is compared: compatibility forms, case and white space count for nothing."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def find_overlaps(tasks: Sequence[Task]) -> list[Overlap]:
    """Which inputs of a split that measures stand in a split that is learnt from or measures earlier.

    Inputs are what the prompts take from the rows, so that another template hides nothing. Within a
    task every pair of splits is compared; across tasks, evaluation and validation with training rows.
    """
    inputs = {
        (task.name, split): {normalise(one.content): one for one in reversed(examples)}
        for task in tasks
        for split, examples in task.splits().items()
    }
    found = []
    for place, other in pairs(tasks):
        mine, theirs = inputs[place], inputs[other]
        if shared := [key for key in mine if key in theirs]:
            found.append(Overlap(*place, *other, len(shared), len(mine), mine[shared[0]].content))
    return found


def pairs(tasks: Sequence[Task]) -> Iterator[tuple[Place, Place]]:
    """The splits that should share nothing, each (task, split): one that measures, and one before it or trained on."""
    places = [(task.name, split) for task in tasks for split in task.splits()]
    for number, (task, split) in enumerate(places):
        for other_number, (other, other_split) in enumerate(places):
            within = task == other and other_number < number
            across = task != other and other_split == "train"
            if split != "train" and (within or across):
                yield (task, split), (other, other_split)
