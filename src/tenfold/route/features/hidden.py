"""The base model's own hidden states of a text: the mean of the last layer's over its tokens, no second model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tenfold.base.head import hidden_states
from tenfold.base.layout import Group, Row
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.errors import ConfigError
from tenfold.route.features._base import Floats, Tensors, refuse
from tenfold.route.features.embedding import Memory

if TYPE_CHECKING:
    from tenfold.adapters import Bank

MOST_TOKENS = 256
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Features:
    """Rows of length one from the base of a bank, without any adapter; centre (D,) is taken off before.

    Hidden states of all texts lie close together; what they have in common says nothing of a task.
    """

    bank: "Bank"
    centre: NDArray[np.float32]
    memory: Memory = field(default_factory=Memory, compare=False)

    @classmethod
    def fit(cls, texts: Sequence[str], tasks: int, argument: str | None, bank: "Bank | None") -> "Features":
        refuse("hidden", argument)
        known = _require(bank)
        raw = cls(known, np.zeros(known.base.model.config.get_text_config().hidden_size, np.float32))
        states = raw.memory.rows(texts, raw.states)
        return cls(known, states.mean(axis=0), raw.memory)

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._scaled(self.memory.rows(texts, self.states))

    def dot(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Floats:
        return np.asarray(self._scaled(self.states(texts)) @ vectors, np.float64)

    def grown(self, texts: Sequence[str]) -> tuple["Features", int, None]:
        return self, len(self.centre), None

    def save(self) -> tuple[dict[str, Any], Tensors]:
        return {"base": self.bank.base.fingerprint}, {"centre": self.centre}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None") -> "Features":
        known = _require(bank)
        if values["base"] != known.base.fingerprint:
            raise ConfigError("router: hidden was fitted on another base; fit it again: tenfold route fit RUN")
        return cls(known, tensors["centre"])

    @torch.inference_mode()
    def states(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B,) texts -> (B, D): mean hidden states, texts of like length in one pass."""
        base = self.bank.base
        tokens = [self._tokens(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda place: -len(tokens[place]))
        found = np.zeros((len(texts), len(self.centre)), np.float32)
        with running(base):
            while order:
                size = max(1, BATCH_TOKENS // len(tokens[order[0]]))
                part, order = order[:size], order[size:]
                found[part] = _means(self.bank, [tokens[place] for place in part])
        return found

    def _tokens(self, text: str) -> list[int]:
        tokenizer = self.bank.base.tokenizer
        given = tokenizer(text, add_special_tokens=False, truncation=True, max_length=MOST_TOKENS)["input_ids"]
        return list(given) or [self.bank.base.pad]

    def _scaled(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = states - self.centre
        return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12), np.float32)


def _means(bank: "Bank", tokens: Sequence[list[int]]) -> NDArray[np.float32]:
    base = bank.base
    packed = pack([Group([Row(one, [False] * len(one)) for one in tokens])], "padded", base.device, pad=base.pad)
    assert packed.attention_mask is not None
    states = hidden_states(base.model, packed.input_ids, packed.position_ids, attention_mask=packed.attention_mask)
    mask = packed.attention_mask[..., None].float()
    means = (states.view(*packed.input_ids.shape, -1).float() * mask).sum(1) / mask.sum(1)
    return F.normalize(means, dim=-1).cpu().numpy()


def _require(bank: "Bank | None") -> "Bank":
    if bank is None:
        raise ConfigError("router: hidden reads the base model; give bank")
    if bank.base.family != "causal":
        raise ConfigError(f"router: hidden reads causal models, and {bank.base.name} is for {bank.base.family}")
    return bank
