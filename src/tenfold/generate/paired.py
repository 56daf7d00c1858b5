"""Decoding with an encoder and a decoder: rows of all adapters padded side by side, through transformers' generate."""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessorList, StoppingCriteriaList

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import frame_of
from tenfold.base.layout import Group, Row
from tenfold.base.pack import pack
from tenfold.generate.draft import Draft
from tenfold.generate.plain import Choose, Ended, bare


def complete_pairs(bank: Bank, drafts: Sequence[Draft]) -> None:
    """Run drafts to their end, together; what their encoder reads is the prompt.

    All decoders start at one place, so that only the sources are padded, and their masks leave the padding out.
    """
    drafts, base = sorted(drafts, key=lambda draft: draft.composition), bank.base
    start = base.coding.start
    assert start is not None, "an encoder-decoder model without a start token"
    rows = [Row([start], [False], source=draft.prompt) for draft in drafts]
    packed = pack([Group(rows)], "padded", base.device, pad=base.pad)
    frame = frame_of(((draft.composition, 1) for draft in drafts), lines=len(drafts))
    with torch.inference_mode(), bank.use(frame), bare(base.model, decoder_start_token_id=start, pad_token_id=0):
        base.model.generate(
            packed.source_ids,
            attention_mask=packed.source_mask,
            max_new_tokens=max(draft.room for draft in drafts),
            do_sample=False,
            logits_processor=LogitsProcessorList([Choose(drafts)]),
            stopping_criteria=StoppingCriteriaList([Ended(drafts)]),
        )
