"""The slow way, for models that packed attention can't take: transformers' own decoding, row by row."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import Frame, Segment
from tenfold.generate.draft import Draft
from tenfold.generate.sampler import choose


class Choose(LogitsProcessor):  # type: ignore[misc]
    """Hands each draft its next token and leaves transformers no other choice."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores (B, V) -> the same, all but the chosen tokens at minus infinity; 0 for drafts that have ended."""
        tokens = choose(scores, [draft.chooser for draft in self.drafts])
        for i, draft in enumerate(self.drafts):
            if draft.finish is None:
                draft.add(tokens[i])
            else:
                tokens[i] = 0
        chosen = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen, 0.0)


class Ended(StoppingCriteria):  # type: ignore[misc]
    """Which drafts have ended."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """(B, L) -> (B,), True where the draft has ended."""
        return torch.tensor([draft.finish is not None for draft in self.drafts], device=input_ids.device)


def complete(bank: Bank, draft: Draft) -> None:
    """Run one draft to its end."""
    model, ids = bank.base.model, torch.tensor([draft.prompt], device=bank.base.device)
    # The passes have the prompt's tokens, then one: a segment without an end is all of either.
    segments = [Segment(0, sys.maxsize, draft.composition)] if draft.composition else []
    with bank.use(Frame(segments)), bare(model):
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=draft.room,
            do_sample=False,
            logits_processor=LogitsProcessorList([Choose([draft])]),
            stopping_criteria=StoppingCriteriaList([Ended([draft])]),
        )


@contextmanager
def bare(model: PreTrainedModel, **settings: int) -> Iterator[None]:
    """Without the penalties and EOS tokens that a model's own generation config would bring in."""
    before, model.generation_config = model.generation_config, GenerationConfig(**settings)
    try:
        yield
    finally:
        model.generation_config = before
