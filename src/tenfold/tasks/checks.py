"""What to know about the data before training: sizes, labels, cut rows, rows that leak between splits."""

import collections
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tenfold.base.model import Coding
from tenfold.progress import SILENT, Progress
from tenfold.tasks.examples import Example
from tenfold.tasks.overlaps import Overlap, find_overlaps, normalise
from tenfold.tasks.task import Task
from tenfold.tasks.tokens import Encoded, encode_all

SAMPLES = 2


@dataclass(frozen=True)
class SplitReport:
    """One split of one task. lengths: tokens of every row; supervised: tokens that count in the loss.

    prompt: its longest prompt in tokens. duplicates: rows whose input stands further up in the same
    split; contradictions: those of them with another response. labels: rows by label, most first.
    """

    task: str
    split: str
    lengths: list[int]
    supervised: int
    prompt: int
    truncated: int
    duplicates: int
    contradictions: int
    labels: dict[str, int]
    sequence_len: int | None

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.lengths)

    def length(self, share: float) -> int:
        """The length in tokens that this share of rows doesn't exceed: 0 the shortest, 0.5 the median."""
        ordered = sorted(self.lengths)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@dataclass(frozen=True)
class Sample:
    """One row as the model sees it: runs of text, each with whether its tokens are supervised."""

    task: str
    split: str
    runs: list[tuple[str, bool]]


@dataclass(frozen=True)
class DataReport:
    """Everything ``tenfold data`` shows. warnings: one sentence for each thing that looks wrong."""

    splits: list[SplitReport]
    overlaps: list[Overlap]
    samples: list[Sample]
    warnings: list[str]


def inspect(tasks: Iterable[Task], coding: Coding, progress: Progress = SILENT) -> DataReport:
    """Tokenise every split of every task and compare their rows. Raises DataError as encode_all does."""
    tasks = list(tasks)
    reports, samples = [], []
    for task in tasks:
        for split, examples in task.splits().items():
            encoded = encode_all(examples, coding, task.settings, progress)
            reports.append(_report(task, split, examples, encoded))
            if split == "train":
                samples += [Sample(task.name, split, mark(one, coding.tokenizer)) for one in encoded[:SAMPLES]]
    overlaps = find_overlaps(tasks)
    return DataReport(reports, overlaps, samples, _warnings(tasks, reports, overlaps))


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
    labels = collections.Counter(example.label for example in examples if example.label is not None)
    return SplitReport(
        task=task.name,
        split=split,
        lengths=[len(one.row.source) + len(one.row.tokens) for one in encoded],
        supervised=sum(one.row.counted for one in encoded),
        prompt=max(len(one.prompt) for one in encoded),
        truncated=sum(one.truncated for one in encoded),
        duplicates=duplicates,
        contradictions=contradictions,
        labels=dict(labels.most_common()),
        sequence_len=task.settings.sequence_len,
    )


def _warnings(tasks: Sequence[Task], reports: Sequence[SplitReport], overlaps: Sequence[Overlap]) -> list[str]:
    notes = [f"{task.name}: {note}" for task in tasks for note in task.notes]
    return [*notes, *(text for one in reports for text in _oddities(one)), *map(str, overlaps)]


def _oddities(one: SplitReport) -> list[str]:
    found = []
    if one.truncated:
        found.append(f"{one.truncated} of {one.rows} rows are cut to sequence_len {one.sequence_len}")
    if one.duplicates:
        other = f", {one.contradictions} of them with another response" if one.contradictions else ""
        found.append(f"{one.duplicates} of {one.rows} rows repeat an earlier row's input{other}")
    if len(one.labels) == 1 and one.rows > 1:
        found.append(f"every row has the label {next(iter(one.labels))!r}")
    return [f"{one.task} {one.split}: {text}" for text in found]
