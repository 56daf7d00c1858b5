"""Tiny bases with filled adapters, passes over them, and PEFT's adapters on the same models to compare with."""

import torch
import torch.nn.functional as F
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold.adapters import Bank, Frame, Segment, compose, frame
from tenfold.adapters.lora import Config
from tenfold.base.attention import attention
from tenfold.base.head import forward, logits
from tenfold.base.layout import Group, Row
from tenfold.base.model import Base
from tenfold.base.pack import pack
from tenfold.base.probe import settle

FEW = ["llama", "gpt2", "gpt_neox", "gemma2"]
# What PEFT calls the attention and the MLP layers of each.
TARGETS = {
    "llama": ["q_proj", "v_proj", "down_proj"],
    "gpt2": ["c_attn", "c_fc"],
    "gpt_neox": ["query_key_value", "dense_4h_to_h"],
    "gemma2": ["q_proj", "o_proj", "gate_proj"],
}


def tiny_base(family="llama", seed=0, **more):
    return Base(tiny_model(family, seed, **more), tiny_tokenizer(), f"tiny/{family}", f"fingerprint of {family} {seed}")


def tiny_bank(family="llama", *names, **settings):
    """A bank with filled LoRA adapters of these names, different from one another."""
    bank = Bank(tiny_base(family))
    for seed, name in enumerate(names):
        bank.add(name, "lora", Config(lora_r=4, **settings), seed=seed)
        fill(bank.parameters(name).values(), seed)
    return bank


def fill(parameters, seed=0, spread=0.1):
    """Random numbers in every parameter, so that the adapter does something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.normal_(std=spread, generator=generator)


def some_rows(*lengths, seed=0):
    """Rows of random tokens of which the second half counts."""
    generator = torch.Generator().manual_seed(seed)
    tokens = [torch.randint(3, 97, (length,), generator=generator).tolist() for length in lengths]
    return [Row(t, [i >= len(t) // 2 for i in range(len(t))], key=k) for k, t in enumerate(tokens)]


def some_ids(seed=0):
    """(2, 11) token ids."""
    return torch.randint(3, 97, (2, 11), generator=torch.Generator().manual_seed(seed))


def plain_logits(bank, ids, *parts):
    """(B, T, V) of the base's own forward under one composition."""
    with torch.no_grad(), bank.use(Frame([Segment(0, ids.numel(), compose(*parts))])):
        return bank.base.model(input_ids=ids).logits


def packed_loss(bank, groups, compositions, *, training=True, noise=(), path=None):
    """Sum of cross entropies of each group's supervised tokens (G,), their gradients taken where there are any."""
    way = settle(bank.base)
    laid = pack([Group(rows) for rows in groups], path or way.path, "cpu")
    implementation = "eager" if path else way.attention
    used = frame(laid, compositions, training=training, noise=noise)
    targets = laid.targets
    with attention(bank.base.model, implementation), bank.use(used):
        found = logits(bank.base, forward(bank.base, laid)[targets.hidden])
        losses = F.cross_entropy(found, targets.token, reduction="none") * targets.weight
        sums = torch.zeros(len(groups)).index_add(0, targets.group, losses)
        if sums.requires_grad:
            sums.sum().backward()
    return sums.detach()


def gradients(bank, name):
    """Copies of an adapter's gradients by name; they are cleared."""
    found = {key: p.grad.clone() for key, p in bank.parameters(name).items()}
    for parameter in bank.parameters(name).values():
        parameter.grad = None
    return found


def close(found, wanted, tolerance=1e-5):
    """The same numbers up to a share of the largest one (at least 1)."""
    scale = max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found, wanted, atol=tolerance * scale, rtol=0)
