"""The slow way, for models that packed attention can't take: transformers' own decoding, row by row."""

import sys
from collections.abc import Iterator
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


class _Choose(LogitsProcessor):  # type: ignore[misc]
    """Hands the draft its next token and leaves transformers no other choice."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """scores (1, V) -> the same, all but the chosen token at minus infinity."""
        token = choose(scores, [self.draft.chooser])[0]
        self.draft.add(token)
        return torch.full_like(scores, float("-inf")).index_fill_(1, scores.new_tensor([token]).long(), 0.0)


class _Ended(StoppingCriteria):  # type: ignore[misc]
    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        """(1, L) -> (1,), True once the draft has ended."""
        return torch.tensor([self.draft.finish is not None], device=input_ids.device)


def complete(bank: Bank, draft: Draft) -> None:
    """Run one draft to its end."""
    model, ids = bank.base.model, torch.tensor([draft.prompt], device=bank.base.device)
    # The passes have the prompt's tokens, then one: a segment without an end is all of either.
    segments = [Segment(0, sys.maxsize, draft.composition)] if draft.composition else []
    with bank.use(Frame(segments)), _bare(model):
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=draft.room,
            do_sample=False,
            logits_processor=LogitsProcessorList([_Choose(draft)]),
            stopping_criteria=StoppingCriteriaList([_Ended(draft)]),
        )


@contextmanager
def _bare(model: PreTrainedModel) -> Iterator[None]:
    """Without the penalties and EOS tokens that a model's own generation config would bring in."""
    before, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before
