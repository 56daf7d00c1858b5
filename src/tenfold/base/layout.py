"""Rows and groups: what is to be run, before it is laid out as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of tokens.

    tokens: T token ids, from the first token of the prompt to EOS.
    supervised: T flags; a flagged token counts in the loss. The first token is never predicted, so
        its flag has no effect.
    key: what makes this row's random numbers (dropout) its own, e.g. its number in the data set.
    """

    tokens: Sequence[int]
    supervised: Sequence[bool]
    key: int = 0


@dataclass(frozen=True)
class Group:
    """Rows that run under one composition.

    share: whether their common beginning is computed once. Dropout, whose masks belong to rows, says no.
    """

    rows: Sequence[Row]
    share: bool = True
