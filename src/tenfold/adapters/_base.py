"""The contract of an adapter kind: what a file in this folder exports as ``Config`` and ``Adapter``."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A frozen module that takes (T, d_in) to (T, d_out).

    name: dotted, as the model names it. transposed: its weight is (d_in, d_out), as in GPT-2's Conv1D.
    """

    name: str
    d_in: int
    d_out: int
    transposed: bool = False


@dataclass(frozen=True)
class Targets:
    """Which layers a kind sits on.

    names: suffixes or full dotted names; None is all linear layers. layers: only those whose number in the model (the
    first in their dotted name) is one of these. each: every name must match something; else only one of them.
    """

    names: Sequence[str] | None = None
    layers: Collection[int] | None = None
    each: bool = True


@dataclass(frozen=True)
class LowRank:
    """A delta that is ``scale * (x @ a.T) @ b.T``: a (R, D_in), b (D_out, R). Hosts fuse these."""

    a: Tensor
    b: Tensor
    scale: float


class Dropout(Protocol):
    """The random numbers of the tokens of one segment in one training pass."""

    def drop(self, x: Tensor, p: float) -> Tensor:
        """x (T, D) with elements zeroed with probability p and the rest scaled by 1 / (1 - p)."""
        ...


class Adapter(nn.Module, ABC):
    """What one adapter adds to one frozen module. Its parameters are all trainable.

    identity: with its kind's default settings it changes nothing at birth (tested for every kind).
    transforms / adds: whether ``transform`` / ``delta`` do anything; a host skips what does not.
    tensors: attribute -> its name in an adapter file, behind the layer's dotted name.
    """

    identity: ClassVar[bool]
    transforms: bool
    adds: bool
    tensors: Mapping[str, str]

    @abstractmethod
    def __init__(self, config: Any, layer: Layer, generator: torch.Generator) -> None:
        """Parameters in float32 on the CPU, drawn from the generator alone."""
        super().__init__()

    @abstractmethod
    def begin(self, frozen: nn.Module) -> None:
        """Take from the frozen module what the first numbers need; for new adapters, not for loaded ones."""

    @abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """(T, D_in) -> (T, D_in), before the frozen module."""

    @abstractmethod
    def delta(self, x: Tensor, y: Tensor, frozen: nn.Module, dropout: Dropout | None) -> Tensor:
        """x (T, D_in) after transforms, y (T, D_out) from the frozen module -> (T, D_out), to be added to y."""

    @abstractmethod
    def low_rank(self, training: bool) -> LowRank | None:
        """The delta as a product of two matrices where it is one (dropout included: None where that is on)."""

    @abstractmethod
    def merge(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None] | None:
        """weight (D_out, D_in), bias (D_out,) -> those of one linear layer that does the same, or None."""


class Kind(Protocol):
    """A module in this folder. PEFT_TYPE: its ``peft_type`` in adapter_config.json; kinds may share one.

    TRAINING: the settings that matter in training only: they don't change what a trained adapter computes.
    BUDGET: the whole-number setting that its size grows with, None where there is none.
    """

    PEFT_TYPE: str
    TRAINING: tuple[str, ...]
    BUDGET: str | None
    Config: type[BaseModel]
    Adapter: type[Adapter]

    def size(self, config: Any, layer: Layer) -> int:
        """Trainable parameters on one layer, without building it."""
        ...

    def targets(self, config: Any) -> Targets:
        """The layers it sits on."""
        ...

    def rates(self, config: Any) -> dict[str, float]:
        """Attribute -> factor on the learning rate, where it is not 1."""
        ...

    def to_peft(self, config: Any, names: Sequence[str]) -> dict[str, Any]:
        """The kind's part of adapter_config.json; names are its ``target_modules``."""
        ...

    def reads(self, settings: dict[str, Any]) -> bool:
        """Whether an adapter_config.json of this ``peft_type`` is of this kind."""
        ...

    def from_peft(self, settings: dict[str, Any]) -> BaseModel:
        """The settings behind an adapter_config.json; AdapterError where it asks for what is not there."""
        ...
