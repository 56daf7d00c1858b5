"""Schedules as in transformers, optimizers as in torch, each adapter clipped by itself."""

import sys

import lanes
import pytest
import torch
import transformers
from peer import tiny_bank
from torch import nn

from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.base.model import Base
from tenfold.config.settings import TrainingSettings
from tenfold.errors import MissingExtraError
from tenfold.training import learner, optim
from tenfold.training.learner import Learner
from tenfold.training.plan import Stage

SHAPES = {"one.a": (4, 9), "one.b": (7, 4), "two.a": (4, 5), "two.b": (3, 4)}


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def gradients(step):
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES.values()]


def schedule(steps, warm, **settings):
    training = TrainingSettings(warmup_steps=warm, **settings)
    return [optim.factor(training, steps, step) for step in range(steps)]


def theirs(make, steps, **settings):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer, **settings)
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(("steps", "warm"), [(20, 0), (20, 5), (7, 3), (1, 0), (5, 4)])
def test_schedules_are_those_of_transformers(steps, warm):
    span = {"num_warmup_steps": warm, "num_training_steps": steps}
    wanted = {
        "constant": theirs(transformers.get_constant_schedule_with_warmup, steps, num_warmup_steps=warm),
        "linear": theirs(transformers.get_linear_schedule_with_warmup, steps, **span),
        "cosine": theirs(transformers.get_cosine_schedule_with_warmup, steps, **span),
    }
    for name, rates in wanted.items():
        assert schedule(steps, warm, lr_scheduler=name) == pytest.approx(rates, abs=1e-12)
    lowest = theirs(transformers.get_cosine_with_min_lr_schedule_with_warmup, steps, min_lr_rate=0.1, **span)
    assert schedule(steps, warm, lr_scheduler="cosine", min_lr_ratio=0.1) == pytest.approx(lowest, abs=1e-12)


def test_the_share_of_warm_up_is_counted_as_transformers_does():
    theirs = transformers.TrainingArguments(warmup_steps=0.03, output_dir="unused")
    for steps in (1, 10, 34, 100, 101):
        wanted = next(
            (s for s in range(steps) if optim.factor(TrainingSettings(lr_scheduler="constant"), steps, s) == 1.0), steps
        )
        assert wanted == min(theirs.get_warmup_steps(steps), steps)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adamw_torch", lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
        ("adamw_torch_fused", lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
        ("adafactor", lambda p: torch.optim.Adafactor(p, lr=0.01, weight_decay=0.1)),
    ],
)
def test_steps_are_those_of_torch(name, make):
    training = TrainingSettings(
        optimizer=name, learning_rate=0.01, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-6, weight_decay=0.1
    )
    ours, plain = parameters(), parameters()
    optimizer, wanted = optim.make(training, ours, {}), make(list(plain.values()))
    for step in range(4):
        for own, other, gradient in zip(ours.values(), plain.values(), gradients(step), strict=True):
            own.grad, other.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        wanted.step()
    lanes.close({key: p.detach() for key, p in ours.items()}, {key: p.detach() for key, p in plain.items()}, 1e-6)


def test_lora_plus_gives_b_its_own_rate_through_the_schedule():
    training = TrainingSettings(learning_rate=0.01, lr_scheduler="linear", warmup_steps=0)
    own = parameters()
    optimizer = optim.make(training, own, {"b": 16.0})
    optim.set_rate(optimizer, 0.005)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(p)] for name, p in own.items()} == {
        "one.a": 0.005, "two.a": 0.005, "one.b": 0.08, "two.b": 0.08,
    }  # fmt: skip


def test_a_lora_plus_adapter_trains_b_faster():
    """The first step of Adam is the learning rate's size, so the ratio shows in the weights."""
    bank = tiny_bank("llama", "a", loraplus_lr_ratio=8.0)
    before = lanes.weights(bank, "a")
    rows = {"a": lanes.ragged(4, everything=True)}
    lanes.train(bank, [lanes.make_lane("a", rows["a"], steps=1, warmup_steps=0, learning_rate=1e-3)], rows)
    moved = {key: (tensor - before[key]).abs().max().item() for key, tensor in lanes.weights(bank, "a").items()}
    assert all(move == pytest.approx(8e-3 if key.endswith(".b") else 1e-3, rel=0.01) for key, move in moved.items())


def stage(bank, **settings):
    rows = {name: lanes.ragged(4, seed=i) for i, name in enumerate(bank.adapters)}
    return Stage("test", tuple(lanes.make_lane(name, rows[name], **settings) for name in bank.adapters))


def test_each_adapter_is_clipped_by_itself():
    bank = tiny_bank("llama", "small", "large")
    small, large = learner.make(bank, stage(bank, max_grad_norm=1.0, optimizer="adafactor", warmup_steps=0))
    for own, size in ((small, 1e-3), (large, 10.0)):
        for parameter in own.parameters.values():
            parameter.grad = torch.full_like(parameter, size)
    scaled = {}

    def keep(optimizer, *_):
        scaled[id(optimizer)] = [p.grad.clone() for group in optimizer.param_groups for p in group["params"]]

    for own in (small, large):
        own.optimizer.register_step_pre_hook(keep)
        _, norm = own.step(0)
        count = sum(p.numel() for p in own.parameters.values())
        assert norm == pytest.approx((1e-3 if own is small else 10.0) * count**0.5, rel=1e-5)
    assert all(g.unique().item() == pytest.approx(1e-3) for g in scaled[id(small.optimizer)])
    total = sum(g.pow(2).sum() for g in scaled[id(large.optimizer)]).sqrt()
    assert total == pytest.approx(1.0, rel=1e-4)


def test_a_limit_of_zero_leaves_gradients_as_they_are():
    own = parameters()
    for parameter in own.values():
        parameter.grad = torch.full_like(parameter, 100.0)
    count = sum(p.numel() for p in own.values())
    assert optim.clip(own.values(), 0.0) == pytest.approx(100 * count**0.5)
    assert all((p.grad == 100).all() for p in own.values())


def test_learners_own_their_tensors_whatever_their_names():
    """One adapter's name within another's, and both within a layer's: bound by identity all the same."""
    bank = tiny_bank("llama", "q", "q_proj", "model")
    learners = learner.make(bank, stage(bank))
    assert [own.name for own in learners] == ["q", "q_proj", "model"]
    for own in learners:
        mine = {id(p) for p in bank.parameters(own.name).values()}
        assert {id(p) for group in own.optimizer.param_groups for p in group["params"]} == mine
        assert all(p.requires_grad for p in own.parameters.values())
    assert not any(p.requires_grad for p in bank.base.model.parameters())


def test_a_learner_without_gradients_makes_its_step():
    own = parameters()
    training = TrainingSettings()
    made = Learner("x", lanes.make_lane("x", [1]), own, optim.make(training, own, {}))
    _, norm = made.step(0)
    assert norm == 0


EIGHT_BITS = pytest.mark.parametrize("name", ["adamw_8bit", "adamw_bnb_8bit"])


@EIGHT_BITS
def test_8_bit_adamw_without_its_package_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tenfold\[bitsandbytes\]'") as caught:
        optim.make(TrainingSettings(optimizer=name), parameters(), {})
    assert "\n" not in str(caught.value)


@EIGHT_BITS
def test_8_bit_adamw_steps_like_adamw(name):
    pytest.importorskip("bitsandbytes")
    settings = {"weight_decay": 0.01, "learning_rate": 1e-2}
    own, exact = ({"x.a": nn.Parameter(torch.linspace(-1, 1, 8192).reshape(64, 128))} for _ in range(2))
    start = own["x.a"].detach().clone()
    for kind, tensors in ((name, own), ("adamw_torch", exact)):
        optimizer = optim.make(TrainingSettings(optimizer=kind, **settings), tensors, {})
        for _ in range(3):
            optimizer.zero_grad()
            tensors["x.a"].square().sum().backward()
            optimizer.step()
    moved = (exact["x.a"] - start).abs().max()
    assert (own["x.a"] - exact["x.a"]).abs().max() < 0.1 * moved


def test_an_adapter_stays_in_float32_on_a_bfloat16_base():
    base = tiny_bank().base
    half = Base(base.model.to(torch.bfloat16), base.tokenizer, base.name, base.fingerprint)
    bank = Bank(half)
    bank.add("a", "lora", Config(lora_r=4), seed=0)
    rows = {"a": lanes.ragged(6)}
    log = lanes.train(bank, [lanes.make_lane("a", rows["a"], steps=20, micro_batch_size=6)], rows)
    assert all(p.dtype == torch.float32 for p in bank.parameters("a").values())
    assert log.losses("a")[-1] < 0.9 * log.losses("a")[0]
