"""Dropout belongs to a row: not to its neighbours, its place or how the pass is laid out."""

import pytest
import torch
from peer import close, gradients, packed_loss, some_rows, tiny_bank

from tenfold.adapters import compose
from tenfold.adapters.noise import StepNoise
from tenfold.base.layout import Row

A, B = compose("a"), compose("b")


def noise(rows, seed=1, step=3, width=None):
    return StepNoise(seed, step, [(width or len(row.tokens), row.key) for row in rows])


def masks(step_noise, adapter="a", layer="x", p=0.25, width=16):
    length = sum(length for length, _ in step_noise.rows)
    return step_noise.at(adapter, layer).drop(torch.ones(length, width), p)


def test_a_rows_mask_is_the_same_among_others():
    one, two, three = some_rows(9, 5, 7)
    found = masks(noise([one, two, three])).split([9, 5, 7])
    for row, mask in zip((one, two, three), found, strict=True):
        assert torch.equal(masks(noise([row])), mask)
    assert torch.equal(masks(noise([three, one]))[:7], found[2])


def test_everything_that_a_mask_belongs_to_changes_it():
    row = some_rows(9)[0]
    first = masks(noise([row]))
    others = [masks(noise([row], seed=2)), masks(noise([row], step=4)), masks(noise([row]), adapter="b"),
              masks(noise([row]), layer="y"), masks(noise([Row(row.tokens, row.supervised, key=8)]))]  # fmt: skip
    assert torch.equal(masks(noise([row])), first)
    assert not any(torch.equal(other, first) for other in others)


def test_a_longer_line_begins_with_the_same_mask():
    """So padding changes nothing (on the CPU, whose generator goes through a tensor in order)."""
    row = some_rows(9)[0]
    assert torch.equal(masks(noise([row], width=14))[:9], masks(noise([row])))


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_rate_and_scale(p):
    dropped = masks(StepNoise(0, 0, [(500, 1), (500, 2)]), p=p, width=200)
    n = dropped.numel()
    assert abs(float((dropped == 0).float().mean()) - p) < 4 * (p * (1 - p) / n) ** 0.5
    torch.testing.assert_close(dropped[dropped > 0], torch.full_like(dropped[dropped > 0], 1 / (1 - p)))


def test_it_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    masks(noise(some_rows(9)))
    assert torch.equal(torch.get_rng_state(), before)


def test_half_precision_stays_half():
    row = some_rows(9)[0]
    assert noise([row]).at("a", "x").drop(torch.ones(9, 4, dtype=torch.bfloat16), 0.5).dtype == torch.bfloat16


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_gradients_among_others_are_those_alone(path):
    bank = tiny_bank("llama", "a", "b", lora_dropout=0.3)
    rows = some_rows(9, 12, 5)
    lines = {"width": 12} if path == "padded" else {}
    step = [noise(rows[:2], **lines), noise(rows[2:], **lines)]
    together = packed_loss(bank, [rows[:2], rows[2:]], [A, B], noise=step, path=path)
    mixed = {name: gradients(bank, name) for name in "ab"}
    alone = [
        packed_loss(bank, [[row]], [c], noise=[noise([row])], path=path) for row, c in zip(rows, (A, A, B), strict=True)
    ]
    close(together, torch.stack([alone[0][0] + alone[1][0], alone[2][0]]))
    for name in "ab":
        for key, wanted in gradients(bank, name).items():
            close(mixed[name][key], wanted, 2e-5)


def test_dropout_is_at_work_in_training_only():
    bank, rows = tiny_bank("llama", "a", lora_dropout=0.3), some_rows(9, 12)
    dropped = packed_loss(bank, [rows], [A], noise=[noise(rows)], path="packed")
    again = packed_loss(bank, [rows], [A], noise=[noise(rows)], path="packed")
    with torch.no_grad():
        scored = packed_loss(bank, [rows], [A], training=False, path="packed")
    without = tiny_bank("llama", "a")
    assert torch.equal(dropped, again)
    assert (dropped - scored).abs().max() > 1e-3
    close(scored, packed_loss(without, [rows], [A], path="packed"))


def test_without_dropout_noise_changes_nothing():
    bank, rows = tiny_bank("llama", "a"), some_rows(9, 12)
    assert torch.equal(packed_loss(bank, [rows], [A], noise=[noise(rows)]), packed_loss(bank, [rows], [A]))
