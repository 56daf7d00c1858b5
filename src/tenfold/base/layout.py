"""Rows and groups: what is to be run, before it is laid out as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of tokens.

    tokens: T token ids, from the first token of the prompt to EOS; of an encoder-decoder model what the decoder
        sees, from its start token to EOS.
    supervised: T flags; a flagged token counts in the loss. The first token is never predicted, so
        its flag has no effect.
    key: what makes this row's random numbers (dropout) its own, e.g. its number in the data set.
    source: what an encoder reads before; () where there is none.
    label: the class of the whole row, for classification; it alone counts then.
    """

    tokens: Sequence[int]
    supervised: Sequence[bool]
    key: int = 0
    source: Sequence[int] = ()
    label: int | None = None

    @property
    def predicted(self) -> list[int]:
        """Positions of the tokens that count in the loss."""
        return [t for t in range(1, len(self.tokens)) if self.supervised[t]]

    @property
    def counted(self) -> int:
        """How many tokens count in the loss; a label counts as one."""
        return sum(self.supervised[1:]) if self.label is None else 1


@dataclass(frozen=True)
class Group:
    """Rows that run under one composition.

    share: whether their common beginning is computed once. Dropout, whose masks belong to rows, says no.
    """

    rows: Sequence[Row]
    share: bool = True
