"""Adapters that train side by side each learn what they learn alone."""

import lanes
import pytest
import torch
from peer import tiny_base

from tenfold.adapters import Bank, compose
from tenfold.adapters.lora import Config
from tenfold.training import loop, passes
from tenfold.training.plan import Feed, Lane

ROWS = {
    "a": lanes.ragged(11, seed=1, prefix=6),
    "b": lanes.ragged(7, seed=2, prefix=4, everything=True),
    "c": lanes.ragged(9, seed=3),
}
LANES = {
    "a": {"steps": 6, "lr_scheduler": "linear", "weight_decay": 0.01},
    "b": {"num_epochs": 2.3, "steps": None, "micro_batch_size": 2, "gradient_accumulation_steps": 2, "warmup_steps": 2},
    "c": {"steps": 3, "micro_batch_size": 3, "lr_scheduler": "constant", "optimizer": "adafactor", "weight_decay": 0.1},
}
ADAPTERS = {
    "a": Config(lora_r=2, lora_alpha=4),
    "b": Config(lora_r=4, peft_use_rslora=True, loraplus_lr_ratio=4),
    "c": Config(lora_r=8, lora_alpha=8, lora_dropout=0.1),
}
TARGETS = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "gpt_neo": ["q_proj"], "bloom": ["query_key_value"]}
DROPOUT = [0.0, 0.1]


def make_bank(names, family="llama", dropout=0.0):
    """Some of the three adapters, at birth but for B, so that every gradient is there from the first step."""
    bank = Bank(tiny_base(family))
    for name in names:
        targets = {"c": TARGETS[family]}.get(name)
        config = ADAPTERS[name].model_copy(update={"lora_target_modules": targets, "lora_dropout": dropout})
        bank.add(name, "lora", config, seed=ord(name))
        generator = torch.Generator().manual_seed(ord(name))
        with torch.no_grad():
            for key, parameter in bank.parameters(name).items():
                if key.endswith(".b"):
                    parameter.normal_(std=0.02, generator=generator)
    return bank


def make_lanes(names, **settings):
    return [lanes.make_lane(name, ROWS[name], **{**LANES[name], **settings}) for name in names]


def trained(names, *, mixed, family="llama", dropout=0.0, **settings):
    bank = make_bank(names, family, dropout)
    log = lanes.train(bank, make_lanes(names, **settings), ROWS, mixed=mixed)
    return bank, log


@pytest.mark.parametrize("dropout", DROPOUT)
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("family", TARGETS)
def test_each_has_the_losses_and_weights_that_it_has_alone(family, mixed, dropout):
    together, log = trained("abc", mixed=mixed, family=family, dropout=dropout)
    assert {name: len(log.losses(name)) for name in "abc"} == {"a": 6, "b": 4, "c": 3}
    for name in "abc":
        alone, own = trained(name, mixed=mixed, family=family, dropout=dropout)
        if mixed:
            assert log.losses(name) == pytest.approx(own.losses(name), rel=1e-4)
            assert log.norms(name) == pytest.approx(own.norms(name), rel=1e-3)
            lanes.close(lanes.weights(together, name), lanes.weights(alone, name), 1e-4)
        else:  # the very same passes, and so the very same bits
            assert (log.losses(name), log.norms(name)) == (own.losses(name), own.norms(name))
            lanes.same_bits(lanes.weights(together, name), lanes.weights(alone, name))


def first_gradients(names, *, mixed, dropout, step=0):
    bank = make_bank(names, dropout=dropout)
    state = lanes.begin(bank, make_lanes(names), ROWS, mixed=mixed)
    state.done = step
    micros = {i: batches.step(step) for i, batches in enumerate(state.batches)}
    for parts in loop.arrange(state, micros):
        passes.run(bank, parts)
    return {name: lanes.take_gradients(bank, name) for name in names}


@pytest.mark.parametrize("dropout", DROPOUT)
@pytest.mark.parametrize("step", [0, 2])
def test_each_has_the_gradients_that_it_has_alone(step, dropout):
    mixed = first_gradients("abc", mixed=True, dropout=dropout, step=step)
    turns = first_gradients("abc", mixed=False, dropout=dropout, step=step)
    for name in "abc":
        alone = first_gradients(name, mixed=False, dropout=dropout, step=step)[name]
        lanes.close(mixed[name], alone)
        lanes.same_bits(turns[name], alone)


@pytest.mark.parametrize("dropout", DROPOUT)
@pytest.mark.parametrize("mixed", [True, False])
def test_small_micro_batches_add_up_to_one_large_one(mixed, dropout):
    found = []
    for micro, accumulated in ((8, 1), (2, 4)):
        sizes = {"micro_batch_size": micro, "gradient_accumulation_steps": accumulated}
        found.append(trained("ab", mixed=mixed, dropout=dropout, **sizes))
    (one, one_log), (other, other_log) = found
    for name in "ab":
        assert one_log.losses(name) == pytest.approx(other_log.losses(name), rel=1e-4)
        lanes.close(lanes.weights(other, name), lanes.weights(one, name), 1e-4)


@pytest.mark.parametrize("mixed", [True, False])
def test_a_finished_adapter_drops_out_and_stays_as_it_is(mixed):
    bank = make_bank("abc")
    state = lanes.begin(bank, make_lanes("abc"), ROWS, mixed=mixed)
    kept = {}

    class Hooks(lanes.Log):
        def after(self, done, state):
            kept[done] = lanes.weights(bank, "c")
            return False

    loop.train(state, Hooks())
    assert sorted(kept) == [1, 2, 3, 4, 5, 6]
    assert not all(torch.equal(kept[2][key], kept[3][key]) for key in kept[3])
    for step in (4, 5, 6):
        lanes.same_bits(kept[step], kept[3])


@pytest.mark.parametrize("dropout", DROPOUT)
def test_training_changes_what_trains_and_nothing_else(dropout):
    bank = make_bank("abc", dropout=dropout)
    base = {key: p.clone() for key, p in bank.base.model.named_parameters()}
    idle = lanes.weights(bank, "b")
    before = lanes.weights(bank, "a")
    lanes.train(bank, make_lanes("ac"), ROWS)
    lanes.same_bits(dict(bank.base.model.named_parameters()), base)
    lanes.same_bits(lanes.weights(bank, "b"), idle)
    assert not any(torch.equal(before[key], after) for key, after in lanes.weights(bank, "a").items())
    everything = [*bank.base.model.parameters(), *(p for name in "abc" for p in bank.parameters(name).values())]
    assert not any(p.requires_grad for p in everything)
    assert all(p.grad is None for p in everything)


def test_dropout_differs_by_adapter_step_and_row():
    """The same rows under two equal adapters: other masks, and others again in the next step."""
    bank = Bank(tiny_base())
    for name in "ab":
        bank.add(name, "lora", Config(lora_r=2, lora_dropout=0.5), seed=0)
        with torch.no_grad():
            for parameter in bank.parameters(name).values():
                parameter.fill_(0.05)
    rows = dict.fromkeys("ab", ROWS["a"])
    settings = {"steps": 2, "micro_batch_size": 11, "learning_rate": 1e-12}
    log = lanes.train(bank, [lanes.make_lane(name, rows[name], **settings) for name in "ab"], rows)
    losses = [*log.losses("a"), *log.losses("b")]
    assert len({round(loss, 4) for loss in losses}) == 4


def test_tasks_of_one_adapter_count_by_their_weight():
    """Two feeds, the second three times as heavy, are the weighted mean of their tokens' losses."""
    bank = make_bank("a")
    few = {"a": ROWS["a"][:3], "b": ROWS["c"][:5]}
    training = lanes.make_lane("a", few["a"], micro_batch_size=8, steps=1).training
    feeds = tuple(
        Feed(name, compose("a"), len(rows), weight) for (name, rows), weight in zip(few.items(), (1, 3), strict=True)
    )
    log = lanes.train(bank, [Lane("a", ("a",), feeds, 1, training)], few)
    peer = make_bank("a")
    plain = lanes.as_peft(tiny_base().model, peer, "a")
    with torch.no_grad():
        losses = [lanes.plain_loss(plain, rows).item() for rows in few.values()]
    counts = [
        sum(sum(row.supervised[1:]) for row in rows) * weight for rows, weight in zip(few.values(), (1, 3), strict=True)
    ]
    wanted = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)
    assert log.losses("a") == pytest.approx([wanted], rel=1e-5)


def test_measuring_what_is_faster_leaves_no_trace():
    bank = make_bank("abc", dropout=0.1)
    before = {name: lanes.weights(bank, name) for name in "abc"}
    state = lanes.begin(bank, make_lanes("abc"), ROWS)
    seconds = loop.faster_mixed(state)
    assert seconds.keys() == {"turns", "mixed"}
    assert all(second > 0 for second in seconds.values())
    for name in "abc":
        lanes.same_bits(lanes.weights(bank, name), before[name])
        assert all(p.grad is None for p in bank.parameters(name).values())
    assert all(not learner.optimizer.state for learner in state.learners)
