"""Adapters come and go; the base keeps its names, its numbers and its own forward."""

import pytest
import torch
from peer import FEW, fill, plain_logits, some_ids, tiny_bank, tiny_base

from tenfold.adapters import Bank, Frame, Segment, compose
from tenfold.adapters.lora import Config
from tenfold.errors import AdapterError

CONFIG = Config(lora_r=4)


@pytest.mark.parametrize("family", FEW)
def test_a_removed_adapter_leaves_no_trace(family):
    base = tiny_base(family)
    modules = dict(base.model.named_modules())
    own = {name: set(module.__dict__) for name, module in modules.items()}
    names = list(base.model.state_dict())
    with torch.no_grad():
        before = base.model(input_ids=some_ids()).logits
        bank = Bank(base)
        bank.add("a", "lora", CONFIG)
        assert list(base.model.state_dict()) == names
        assert dict(base.model.named_modules()).keys() == modules.keys()
        assert not any(p.requires_grad for p in base.model.parameters())
        bank.remove("a")
        assert torch.equal(base.model(input_ids=some_ids()).logits, before)
    assert {name: set(module.__dict__) for name, module in base.model.named_modules()} == own


def test_a_forward_that_a_hook_put_there_stays():
    base = tiny_base()
    layer = base.model.model.layers[0].mlp.up_proj
    own = layer.forward
    layer.forward = hooked = lambda x: own(x) * 2
    bank = Bank(base)
    bank.add("a", "lora", CONFIG)
    bank.remove("a")
    assert layer.forward is hooked


def test_layers_that_another_adapter_uses_stay_hosted():
    bank = tiny_bank("llama", "a", "b")
    before = plain_logits(bank, some_ids(), "b")
    bank.remove("a")
    assert torch.equal(plain_logits(bank, some_ids(), "b"), before)
    assert list(bank.adapters) == ["b"]


def test_outside_of_a_frame_the_base_runs_alone():
    bank, ids = tiny_bank("llama", "a"), some_ids()
    plain = Bank(tiny_base())
    with torch.no_grad():
        truth = plain.base.model(input_ids=ids).logits
        assert torch.equal(bank.base.model(input_ids=ids).logits, truth)
        assert not torch.equal(plain_logits(bank, ids, "a"), truth)
        assert torch.equal(bank.base.model(input_ids=ids).logits, truth)
    with pytest.raises(KeyError), bank.use(Frame([Segment(0, 22, compose("a"))])):
        raise KeyError
    with torch.no_grad():
        assert torch.equal(bank.base.model(input_ids=ids).logits, truth)


def test_numbers_depend_on_seed_and_layer_only():
    first, second = Bank(tiny_base()), Bank(tiny_base())
    first.add("a", "lora", CONFIG, seed=3)
    second.add("x", "lora", CONFIG, seed=8)
    second.add("y", "lora", Config(lora_r=4, lora_target_modules=["up_proj"]), seed=3)
    few = second.parameters("y")
    assert few
    assert all(torch.equal(value, first.parameters("a")[name]) for name, value in few.items())
    other = second.parameters("x")
    draws = [value for name, value in first.parameters("a").items() if name.endswith(".a")]
    assert not any(torch.equal(value, other[name]) for name, value in few.items() if name.endswith(".a"))
    assert len({draw.flatten()[0].item() for draw in draws}) == len(draws)


def test_parameters_stand_in_the_models_order():
    names = list(tiny_bank("llama", "a").parameters("a"))
    assert names[:2] == ["model.layers.0.self_attn.q_proj.a", "model.layers.0.self_attn.q_proj.b"]
    assert names[-1] == "model.layers.1.mlp.down_proj.b"
    assert len(names) == 2 * 2 * 7


def test_size_counts_every_parameter():
    bank = tiny_bank("gpt2", "a")
    assert bank.get("a").size == sum(p.numel() for p in bank.parameters("a").values())


def test_names_must_be_free_and_known():
    bank = tiny_bank("llama", "a", "b")
    with pytest.raises(AdapterError, match="adapter 'a' is in the bank already"):
        bank.add("a", "lora", CONFIG)
    for act in bank.get, bank.remove, bank.parameters:
        with pytest.raises(AdapterError, match="no adapter 'c' in the bank; there are: a, b"):
            act("c")
    with pytest.raises(AdapterError, match="no adapter 'c'"), bank.use(Frame([Segment(0, 1, compose("a", "c"))])):
        pass
    with pytest.raises(AdapterError, match="there are: none"):
        Bank(tiny_base()).get("a")


def test_an_adapter_that_cannot_be_built_leaves_nothing():
    bank = Bank(tiny_base())
    with pytest.raises(RuntimeError):
        bank.add("a", "lora", Config(lora_r=10**15))
    assert not bank.adapters
    assert not bank._hosts
    with pytest.raises(AdapterError, match="matches no linear layer"):
        bank.add("a", "lora", Config(lora_target_modules=["nothing"]))
    assert not bank.adapters


def test_an_adapter_that_comes_back_under_its_name_is_the_new_one():
    bank = tiny_bank("llama", "a")
    old = plain_logits(bank, some_ids(), "a")
    bank.remove("a")
    bank.add("a", "lora", CONFIG)
    fill(bank.parameters("a").values(), seed=4)
    assert not torch.allclose(plain_logits(bank, some_ids(), "a"), old)


def test_faster_products_give_the_same_and_leave_no_trace():
    bank = tiny_bank("llama", "a")
    modules = dict(bank.base.model.named_modules())
    ids = some_ids()
    with torch.inference_mode():
        truth = bank.base.model(ids).logits
        with bank.swift():
            found = bank.base.model(ids).logits
            bank.add("b", "lora", Config(lora_r=4), seed=3)  # as another thread may, while a pass runs
            assert torch.allclose(bank.base.model(ids).logits, truth, atol=1e-4)
    assert torch.allclose(found, truth, atol=1e-4)
    bank.remove("b")
    bank.remove("a")
    assert not any("forward" in module.__dict__ for module in modules.values())
    bank.base.model.requires_grad_(True)
    bank.base.model(ids).logits.sum().backward()
    assert bank.base.model.lm_head.weight.grad is not None
