"""The contract of a kind of router: what a file in this folder exports as ``Scorer``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from tenfold.route.features._base import Floats, Matrix, Tensors

if TYPE_CHECKING:
    from tenfold.adapters import Bank

Texts = Mapping[str, Sequence[str]]


class Solve(Protocol):
    """A linear classifier from features (B, F) and the number of each row's class."""

    def __call__(self, features: Matrix, labels: Sequence[int], classes: int) -> tuple[Floats, Floats]:
        """-> weights (F, N) and offsets (N,) of the logits."""


@dataclass(frozen=True)
class Setting:
    """What a kind may use beside texts.

    bank: the base model and its adapters, for kinds that read these. argument: what stands behind the kind's colon.
    """

    solve: Solve
    bank: "Bank | None" = None
    argument: str | None = None
    seed: int = 0


class Scorer(Protocol):
    """Logits over tasks from texts; tasks are numbered in the order of the texts that it was fitted on.

    quick: whether it can be fitted several times in seconds, as choosing the out-of-scope score takes.
    most: texts of all tasks together that it looks at when it is fitted.
    """

    quick: ClassVar[bool]
    most: ClassVar[int]

    @classmethod
    def fit(cls, texts: Texts, setting: Setting) -> Self:
        """Learn from texts of every task, at least one a task. Raises TenfoldError for what is not there."""

    def logits(self, texts: Sequence[str]) -> Floats:
        """(B,) texts -> (B, N)."""

    def distances(self, texts: Sequence[str]) -> Floats:
        """(B,) texts -> (B,): how far each is from everything that was learnt; higher is further."""

    def add(self, task: str, texts: Sequence[str]) -> Self | None:
        """The same with one task more, at its end, without fitting again; None where that can't be had."""

    def save(self) -> tuple[dict[str, Any], Tensors]:
        """JSON values and numbers from which ``load`` makes it again."""

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None" = None) -> Self:
        """What ``save`` gave. Raises TenfoldError for what is not there."""


Kind = type[Scorer]
