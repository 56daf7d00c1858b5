"""What is known of one split of one task."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SplitReport:
    """One split of one task. lengths: tokens of every row; supervised: tokens that count in the loss.

    prompt: its longest prompt in tokens. duplicates: rows whose input stands further up in the same
    split; contradictions: those of them with another response. by_label: the lengths of the rows of each
    label, the most frequent first; empty where the task has no labels.
    """

    task: str
    split: str
    lengths: list[int]
    supervised: int
    prompt: int
    truncated: int
    duplicates: int
    contradictions: int
    by_label: dict[str, list[int]]
    sequence_len: int | None

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.lengths)

    @property
    def labels(self) -> dict[str, int]:
        """Rows by label, most first."""
        return {label: len(lengths) for label, lengths in self.by_label.items()}

    def length(self, share: float) -> int:
        """The length in tokens that this share of rows doesn't exceed: 0 the shortest, 0.5 the median."""
        return quantile(self.lengths, share)


def quantile(lengths: Sequence[int], share: float) -> int:
    """The length that this share of rows doesn't exceed."""
    ordered = sorted(lengths)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
