"""The base model's own hidden states of a text: the mean of the last layer's over its tokens, no second model."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tenfold.base.head import forward
from tenfold.base.layout import Group, Row
from tenfold.base.model import Path
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.errors import ConfigError
from tenfold.route.features._base import Floats, Tensors, refuse
from tenfold.route.memory import Memory

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

    @classmethod
    def fit(cls, texts: Sequence[str], tasks: int, argument: str | None, bank: "Bank | None") -> "Features":
        refuse("hidden", argument)
        known = _require(bank)
        raw = cls(known, np.zeros(known.base.model.config.get_text_config().hidden_size, np.float32))
        return cls(known, _memory(known).rows(texts, raw.states).mean(axis=0))

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._scaled(_memory(self.bank).rows(texts, self.states))

    def dot(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Floats:
        return np.asarray(self.rows(texts) @ vectors, np.float64)

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
        with running(base) as way:
            while order:
                size = max(1, BATCH_TOKENS // len(tokens[order[0]]))
                part, order = order[:size], order[size:]
                found[part] = _means(self.bank, [tokens[place] for place in part], way.path)
        return found

    def _tokens(self, text: str) -> list[int]:
        tokenizer = self.bank.base.tokenizer
        given = tokenizer(text, add_special_tokens=False, truncation=True, max_length=MOST_TOKENS)["input_ids"]
        return list(given) or [self.bank.base.pad]

    def _scaled(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = states - self.centre
        return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12), np.float32)


def _means(bank: "Bank", tokens: Sequence[list[int]], path: Path) -> NDArray[np.float32]:
    base = bank.base
    rows = [Row(one, [False] * len(one)) for one in tokens]
    packed = pack([Group(rows, share=False)], path, base.device, pad=base.pad)
    states = forward(base, packed).float()
    if packed.lines:
        states = states.view(packed.lines, -1, states.shape[-1])
        parts = [states[line, : len(one)] for line, one in enumerate(tokens)]
    else:
        parts = [states[start:stop] for start, stop, _ in packed.rows]
    return F.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1).cpu().numpy()


def _memory(bank: "Bank") -> Memory:
    return _remembered(f"{bank.base.fingerprint} {bank.base.quantization} {bank.base.device}")


@functools.cache
def _remembered(base: str) -> Memory:
    return Memory()


def _require(bank: "Bank | None") -> "Bank":
    if bank is None:
        raise ConfigError("router: hidden reads the base model; give bank")
    if bank.base.family != "causal":
        raise ConfigError(f"router: hidden reads causal models, and {bank.base.name} is for {bank.base.family}")
    return bank
