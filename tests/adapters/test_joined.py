"""FFF and LoRA on one layer: the formula written out on the plain model, its logits and all gradients."""

import pytest
import torch
import torch.nn.functional as F
from peer import close, fill, gradients, packed_loss, some_ids, some_rows, tiny_base
from torch import nn

from tenfold import plugins
from tenfold.adapters import Bank, Frame, Segment, compose
from tenfold.base.quantize import Quantization, quantize

PARTS = ("a.lora", "a.fff")
TARGETS = {"llama": ["up_proj", "q_proj"], "gpt2": ["c_fc", "c_attn"]}  # both adapters on the first, LoRA on the second


def make_bank(family, how=None):
    base = tiny_base(family)
    if how:
        base.quantization = Quantization(how)
        quantize(base.model, base.quantization, "cpu")
    bank = Bank(base)
    settings = {
        "lora": {"lora_r": 3, "lora_target_modules": TARGETS[family]},
        "fff": {"fff_blocks": 2, "fff_intermediate_size": [5, 3], "fff_activation": "relu"},
    }
    for seed, (kind, given) in enumerate(settings.items()):
        bank.add(f"a.{kind}", kind, plugins.find("tenfold.adapters", kind).Config(**given))
        fill(bank.parameters(f"a.{kind}").values(), seed, spread=0.3)
        for parameter in bank.parameters(f"a.{kind}").values():
            parameter.requires_grad_()
    return bank


class Written(nn.Module):
    """h through the blocks, then W h + b + s B A h, in plain torch over the same parameters."""

    def __init__(self, frozen, lora, fff):
        super().__init__()
        self.frozen, self.lora, self.fff = frozen, lora, fff

    def forward(self, h):
        for i in range(2 if self.fff else 0):
            norm, gate, up, down = (getattr(self.fff, f"{part}_{i}") for part in ("norm", "gate", "up", "down"))
            n = h / torch.sqrt((h * h).mean(-1, keepdim=True) + 1e-6) * norm
            h = h + (F.relu(n @ gate.T) * (n @ up.T)) @ down.T
        return self.frozen(h) + 16 / 3 * h @ self.lora.a.T @ self.lora.b.T


def written(bank, family, how=None):
    """A model of its own with the formula in the place of the layers, over the bank's parameters."""
    model = make_bank(family, how).base.model
    loras, blocks = (bank.get(name).modules for name in PARTS)
    assert set(blocks) < set(loras)
    for name, lora in loras.items():
        parent, _, own = name.rpartition(".")
        frozen = tiny_frozen(model, name)
        setattr(model.get_submodule(parent), own, Written(frozen, lora, blocks.get(name)))
    return model


def tiny_frozen(model, name):
    """The layer itself, without what a bank has put before it."""
    module = model.get_submodule(name)
    module.__dict__.pop("forward", None)
    return module


@pytest.mark.parametrize("how", [None, "nf4"])
@pytest.mark.parametrize("family", TARGETS)
def test_logits_and_gradients_are_those_of_the_formula(family, how):
    bank, ids = make_bank(family, how), some_ids()
    wanted = written(bank, family, how)(input_ids=ids).logits
    with bank.use(Frame([Segment(0, ids.numel(), compose(*PARTS))], training=True)):
        found = bank.base.model(input_ids=ids).logits
        close(found.detach(), wanted.detach())
        factor = torch.randn(found.shape, generator=torch.Generator().manual_seed(5))
        (found * factor).sum().backward()
    own = {name: gradients(bank, name) for name in PARTS}
    (wanted * factor).sum().backward()
    for name in PARTS:
        for key, gradient in gradients(bank, name).items():
            assert gradient.abs().max() > 0
            close(own[name][key], gradient, 1e-4)


def test_the_order_of_the_two_is_no_matter():
    bank, ids = make_bank("llama"), some_ids()
    found = []
    for parts in (PARTS, PARTS[::-1]):
        with torch.no_grad(), bank.use(Frame([Segment(0, ids.numel(), compose(*parts))])):
            found.append(bank.base.model(input_ids=ids).logits)
    assert torch.equal(*found)


def test_beside_a_plain_lora_in_one_pass_it_is_as_alone():
    bank, first, second = make_bank("llama"), some_rows(9, 12, 7), some_rows(8, 5, seed=1)
    bank.add("b", "lora", plugins.find("tenfold.adapters", "lora").Config(lora_r=4), seed=3)
    fill(bank.parameters("b").values(), 3)
    for parameter in bank.parameters("b").values():
        parameter.requires_grad_()
    names, groups = (*PARTS, "b"), [(first, compose(*PARTS)), (second, compose("b"))]
    alone = torch.cat([packed_loss(bank, [rows], [composition]) for rows, composition in groups])
    wanted = {name: gradients(bank, name) for name in names}
    together = packed_loss(bank, [first, second], [composition for _, composition in groups])
    close(together, alone)
    for name in names:
        for key, gradient in gradients(bank, name).items():
            close(gradient, wanted[name][key], 1e-4)
