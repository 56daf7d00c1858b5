"""Banks on tiny models, requests for them, and what transformers gives for one row alone."""

import random
import sys

import torch
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold.adapters import BASE, Bank, Frame, Segment, compose
from tenfold.adapters.lora import Config
from tenfold.base.attention import attention
from tenfold.base.model import Base

COMPOSITIONS = [BASE, compose("a"), compose("b"), compose("a", ("b", 0.5))]
TIE = 1e-4  # two best logits closer than this, relative to the largest, may come out either way


def tiny_bank(family="llama", adapters=("a", "b")):
    """Adapters that change a lot: B is drawn instead of zero."""
    bank = Bank(Base(tiny_model(family), tiny_tokenizer(), family, ""))
    for i, name in enumerate(adapters):
        bank.add(name, "lora", Config(lora_r=4), seed=i)
        generator = torch.Generator().manual_seed(100 + i)
        with torch.no_grad():
            for key, parameter in bank.parameters(name).items():
                if key.endswith(".b"):
                    parameter.normal_(0, 0.3, generator=generator)
    return bank


def prompts(count, seed=0, shared=4, low=1, high=20):
    """Ragged prompts; half of them begin alike."""
    draw = random.Random(seed)
    start = [draw.randrange(4, 97) for _ in range(shared)]
    tails = [[draw.randrange(4, 97) for _ in range(draw.randint(low, high))] for _ in range(count)]
    return [start + tail if i % 2 else tail for i, tail in enumerate(tails)]


def alone(bank, prompt, composition, new):
    """Greedy tokens of transformers' generate, and for each step how far the two best logits lie apart."""
    ids = torch.tensor([prompt])
    segments = [Segment(0, sys.maxsize, composition)] if composition else []
    with attention(bank.base.model, "eager"), bank.use(Frame(segments)), torch.inference_mode():
        out = bank.base.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False,
            eos_token_id=None, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
    best = torch.cat(out.logits).topk(2).values
    gaps = (best[:, 0] - best[:, 1]) / torch.cat(out.logits).abs().amax(-1)
    return out.sequences[0, len(prompt) :].tolist(), gaps.tolist()


def same(found, truth, gaps):
    """Whether tokens agree, up to the first step that is nearly a tie. Returns (agree, tie met)."""
    for i, (x, y) in enumerate(zip(found, truth, strict=True)):
        if x != y:
            return gaps[i] < TIE, gaps[i] < TIE
    return True, False
