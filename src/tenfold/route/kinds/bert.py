"""A fine-tuned encoder: all of its weights learn, with a head over its pooled states; bert:NAME takes another one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.base.encoders import Encoder, load_encoder
from tenfold.errors import RunError
from tenfold.route.centres import Prototypes, furthest
from tenfold.route.features._base import Floats, Tensors
from tenfold.route.features.embedding import DEFAULT
from tenfold.route.kinds._base import Setting, Texts
from tenfold.route.kinds._linear import flat

if TYPE_CHECKING:
    from tenfold.adapters import Bank

EPOCHS, BATCH = 2, 16
RATE, HEAD_RATE = 1e-4, 5e-3
BODY, HEAD = "body.", "head."


@dataclass(frozen=True)
class Scorer:
    """The encoder with its own weights, and the head (D, N) on its states."""

    quick: ClassVar[bool] = False
    most: ClassVar[int] = 1_500
    encoder: Encoder
    head: nn.Linear
    prototypes: Prototypes

    @classmethod
    def fit(cls, texts: Texts, setting: Setting) -> "Scorer":
        encoder = load_encoder(setting.argument or DEFAULT)
        every, labels = flat(texts)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(setting.seed)
            head = nn.Linear(encoder.model.config.hidden_size, len(texts))
            if len(texts) > 1:
                _learn(encoder, head, every, labels, setting.seed)
        head.requires_grad_(False)
        prototypes = Prototypes.of(encoder.embed(every).numpy(), labels, len(texts), setting.seed)
        return cls(encoder, head, prototypes)

    def logits(self, texts: Sequence[str]) -> Floats:
        return self.head(self.encoder.embed(texts) * SCALE).double().numpy()  # type: ignore[no-any-return]

    def distances(self, texts: Sequence[str]) -> Floats:
        return furthest(self.encoder.embed(texts).numpy().astype(np.float64) @ self.prototypes.vectors)

    def add(self, task: str, texts: Sequence[str]) -> None:
        return None

    def save(self) -> tuple[dict[str, Any], Tensors]:
        body = {f"{BODY}{key}": value.numpy() for key, value in self.encoder.model.state_dict().items()}
        head = {f"{HEAD}{key}": value.numpy() for key, value in self.head.state_dict().items()}
        return {"encoder": self.encoder.name}, {**body, **head, **self.prototypes.save()}

    @classmethod
    def load(cls, values: Mapping[str, Any], tensors: Tensors, bank: "Bank | None" = None) -> "Scorer":
        encoder = load_encoder(str(values["encoder"]))
        weights = {key: torch.from_numpy(value) for key, value in tensors.items()}
        classes, width = weights[f"{HEAD}weight"].shape
        head = nn.Linear(width, classes).requires_grad_(False)
        try:
            encoder.model.load_state_dict(_under(weights, BODY))
            head.load_state_dict(_under(weights, HEAD))
        except RuntimeError as error:
            raise RunError(f"the router's encoder does not fit {encoder.name}: {str(error).splitlines()[0]}") from None
        return cls(encoder, head, Prototypes.load(tensors))


SCALE = 10.0
"""States are scaled to this length, so that few steps of the head suffice."""


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _learn(encoder: Encoder, head: nn.Linear, texts: Sequence[str], labels: Sequence[int], seed: int) -> None:
    """Cross entropy over all weights, every class with the same weight; the rate falls to nothing."""
    counts = torch.bincount(torch.tensor(labels)).float()
    body = list(encoder.model.requires_grad_(True).parameters())
    optimizer = torch.optim.AdamW([{"params": body, "lr": RATE}, {"params": head.parameters(), "lr": HEAD_RATE}])
    draw = np.random.default_rng(seed)
    order = np.concatenate([draw.permutation(len(texts)) for _ in range(EPOCHS)])
    steps = -(-len(order) // BATCH)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for at in range(0, len(order), BATCH):
        part = order[at : at + BATCH]
        states = F.normalize(encoder.pool([texts[place] for place in part]), dim=-1) * SCALE
        loss = F.cross_entropy(head(states), torch.tensor([labels[place] for place in part]), 1 / counts)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
    encoder.model.requires_grad_(False)
