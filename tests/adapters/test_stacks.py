"""Stacked updates against the same updates one by one."""

import itertools

import pytest
import torch
from peer import fill, some_ids, tiny_base

from tenfold.adapters import Bank, Frame, Segment, compose
from tenfold.adapters.dora import Config as Dora
from tenfold.adapters.lora import Config
from tenfold.adapters.stacks import Stack, Stacks, families


def lora_bank(family="llama"):
    """Adapters a to e of three shapes, and one that is not low-rank."""
    bank = Bank(tiny_base(family))
    for seed, (name, rank) in enumerate(zip("abcde", (4, 4, 4, 2, 4), strict=True)):
        some = ["q_proj"] if name == "e" and family == "llama" else None
        bank.add(name, "lora", Config(lora_r=rank, lora_target_modules=some), seed=seed)
        fill(bank.parameters(name).values(), seed)
    bank.add("dora", "dora", Dora(), seed=9)
    fill(bank.parameters("dora").values(), 9)
    return bank


MIXED = [compose("a"), compose("b"), compose("c"), compose("d"), compose("e"), compose("a", ("b", 0.5)),
         compose(("c", -0.3)), compose("dora"), compose("a", "dora"), compose()]  # fmt: skip


def run(bank, compositions, ids):
    """Each row a token of one pass: through stacks, and one by one."""
    order, frame = Stacks(bank).arrange(compositions)
    hidden = ids.new_zeros(0)
    with torch.inference_mode(), bank.use(frame):
        hidden = mlp(bank, ids[order])
    together = torch.empty_like(hidden)
    together[order] = hidden
    with torch.inference_mode():
        apart = []
        for i, composition in enumerate(compositions):
            with bank.use(Frame([Segment(0, 1, composition)] if composition else [])):
                apart.append(mlp(bank, ids[i : i + 1]))
    return together, torch.cat(apart)


def mlp(bank, rows):
    """(T, 32) through all linear layers of a block that take and give that."""
    layers = [bank.frozen[name] for name in bank.linear if ".0." in name]
    for layer in layers:
        width = layer.weight.shape[1] if isinstance(layer, torch.nn.Linear) else layer.weight.shape[0]
        rows = torch.tanh(layer(rows.repeat(1, 4)[None, :, :width])[0])
    return rows


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "counts", [[2] * 10, [1, 5, 2, 1, 3, 2, 1, 1, 2, 1], [40, 1, 1, 3, 0, 0, 0, 0, 0, 2], [0] * 9 + [3]]
)
def test_rows_of_all_shapes_together(family, counts):
    bank = lora_bank(family)
    compositions = list(itertools.chain.from_iterable([c] * n for c, n in zip(MIXED, counts, strict=True)))
    ids = torch.randn(len(compositions), 32, generator=torch.Generator().manual_seed(0))
    together, apart = run(bank, compositions, ids)
    assert torch.allclose(together, apart, atol=1e-5)


def test_slots_follow_who_is_there():
    bank, generator = lora_bank(), torch.Generator().manual_seed(0)
    stacks = Stacks(bank)
    for step in range(12):
        there = [MIXED[(step * 3 + i) % 5] for i in range(step % 5 + 1)]
        ids = torch.randn(len(there), 32, generator=generator)
        order, frame = stacks.arrange(there)
        with torch.inference_mode(), bank.use(frame):
            found = torch.empty(len(there), *mlp(bank, ids).shape[1:])
            found[order] = mlp(bank, ids[order])
        _, apart = run(bank, there, ids)
        assert torch.allclose(found, apart, atol=1e-5)


def test_what_comes_again_is_still_there_and_what_grows_keeps_it(monkeypatch):
    bank, written = lora_bank(), []
    write = Stack._write
    monkeypatch.setattr(Stack, "_write", lambda self, slot, one: (written.append(one), write(self, slot, one)))
    stacks, there = Stacks(bank), [compose("a"), compose("b"), compose("c")]
    for some in (there[:1], there, [compose("d")], there):
        order, frame = stacks.arrange(some)
    assert written == [*there, compose("d")]
    ids = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), bank.use(frame):
        found = torch.empty_like(mlp(bank, ids))
        found[order] = mlp(bank, ids[order])
    assert torch.allclose(found, run(bank, there, ids)[1], atol=1e-5)


def test_a_new_adapter_under_an_old_name_is_seen():
    bank = lora_bank()
    stacks, ids = Stacks(bank), torch.randn(2, 32)
    stacks.arrange([compose("a"), compose("b")])
    bank.remove("a")
    bank.add("a", "lora", Config(lora_r=4), seed=5)
    fill(bank.parameters("a").values(), 55)
    order, frame = stacks.arrange([compose("a"), compose("b")])
    with torch.inference_mode(), bank.use(frame):
        found = torch.empty_like(mlp(bank, ids))
        found[order] = mlp(bank, ids[order])
    assert torch.allclose(found, run(bank, [compose("a"), compose("b")], ids)[1], atol=1e-5)


def test_layers_that_are_given_the_same_share_their_first_product():
    bank = lora_bank()
    stacks, there, ids = Stacks(bank), [compose("a"), compose("b"), compose("b")], some_ids()[:1, :3]
    with torch.inference_mode():
        order, frame = stacks.arrange(there)
        with bank.use(frame):
            found = bank.base.model(ids[:, order]).logits
        sizes = sorted(len(family) for family in families(bank) if ".0." in family[0])
        assert sizes == [1, 1, 2, 3]
        own = Frame([Segment(i, i + 1, there[row]) for i, row in enumerate(order)])
        with bank.use(own):
            truth = bank.base.model(ids[:, order]).logits
    assert torch.allclose(found, truth, atol=1e-4)
