"""Drafts that transformers' own ``generate`` writes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    PreTrainedModel,
    StoppingCriteria,
)

from tenfold.generate.advance import advance
from tenfold.generate.draft import Draft


class Choose(LogitsProcessor):  # type: ignore[misc]
    """Hands each draft its next token and leaves transformers no other choice."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores (B, V) -> the same, all but the chosen tokens (0 after the end) at minus infinity."""
        advance(scores, self.drafts)
        tokens = [draft.tokens[-1] if draft.finish is None else 0 for draft in self.drafts]
        chosen = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen, 0.0)


class Ended(StoppingCriteria):  # type: ignore[misc]
    """Which drafts have ended."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """(B, L) -> (B,), True where the draft has ended."""
        return torch.tensor([draft.finish is not None for draft in self.drafts], device=input_ids.device)


@contextmanager
def bare(model: PreTrainedModel, **settings: int) -> Iterator[None]:
    """Without the penalties and EOS tokens that a model's own generation config would bring in."""
    before, model.generation_config = model.generation_config, GenerationConfig(**settings)
    try:
        yield
    finally:
        model.generation_config = before
