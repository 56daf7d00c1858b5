"""What to know about the data before training: sizes, labels, cut rows, rows that leak between splits or repeat."""

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tenfold.base.model import Coding
from tenfold.progress import SILENT, Progress
from tenfold.tasks.examples import Example
from tenfold.tasks.oddities import find_oddities
from tenfold.tasks.overlaps import Overlap, find_overlaps, normalise
from tenfold.tasks.similar import ALIKE, Similar, find_similar
from tenfold.tasks.splits import SplitReport
from tenfold.tasks.task import Task
from tenfold.tasks.tokens import Encoded, encode_all

SAMPLES = 2


@dataclass(frozen=True)
class Sample:
    """One row as the model sees it: runs of text, each with whether its tokens are supervised."""

    task: str
    split: str
    runs: list[tuple[str, bool]]


@dataclass(frozen=True)
class DataReport:
    """Everything that is found in rows. warnings: one sentence for each thing that looks wrong."""

    splits: list[SplitReport]
    overlaps: list[Overlap]
    similar: list[Similar]
    samples: list[Sample]
    warnings: list[str]


def inspect(
    tasks: Iterable[Task], coding: Coding, progress: Progress = SILENT, alike: float | None = ALIKE
) -> DataReport:
    """Tokenise every split of every task and compare their rows. Raises DataError as encode_all does.

    alike: how much of their text inputs share that count as near repeats; None looks for none.
    """
    tasks = list(tasks)
    reports, samples = [], []
    for task in tasks:
        for split, examples in task.splits().items():
            encoded = encode_all(examples, coding, task.settings, progress)
            reports.append(_report(task, split, examples, encoded))
            if split == "train":
                samples += [Sample(task.name, split, mark(one, coding.tokenizer)) for one in encoded[:SAMPLES]]
    overlaps = find_overlaps(tasks)
    similar = find_similar(tasks, alike, progress) if alike is not None else []
    notes = [f"{task.name}: {note}" for task in tasks for note in task.notes]
    warnings = [*notes, *find_oddities(reports), *map(str, overlaps), *map(str, similar)]
    return DataReport(reports, overlaps, similar, samples, warnings)


def mark(encoded: Encoded, tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
    """A row's text in runs of tokens that are, or are not, supervised; special tokens are shown."""
    runs: list[tuple[list[int], bool]] = [(list(encoded.row.source), False)] if encoded.row.source else []
    for token, supervised in zip(encoded.row.tokens, encoded.row.supervised, strict=True):
        if not runs or runs[-1][1] != supervised:
            runs.append(([], supervised))
        runs[-1][0].append(token)
    return [(str(tokenizer.decode(tokens)), supervised) for tokens, supervised in runs]


def _report(task: Task, split: str, examples: Sequence[Example], encoded: Sequence[Encoded]) -> SplitReport:
    first: dict[str, str] = {}
    duplicates = contradictions = 0
    for example in examples:
        key = normalise(example.content)
        duplicates += key in first
        contradictions += first.setdefault(key, example.response) != example.response
    lengths = [len(one.row.source) + len(one.row.tokens) for one in encoded]
    return SplitReport(
        task=task.name,
        split=split,
        lengths=lengths,
        supervised=sum(one.row.counted for one in encoded),
        prompt=max(len(one.prompt) for one in encoded),
        truncated=sum(one.truncated for one in encoded),
        duplicates=duplicates,
        contradictions=contradictions,
        by_label=_by_label(examples, lengths),
        sequence_len=task.settings.sequence_len,
    )


def _by_label(examples: Sequence[Example], lengths: Sequence[int]) -> dict[str, list[int]]:
    found = collections.defaultdict[str, list[int]](list)
    for example, length in zip(examples, lengths, strict=True):
        if example.label is not None:
            found[example.label].append(length)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))
