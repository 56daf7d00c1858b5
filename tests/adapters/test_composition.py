"""Several adapters in one pass give each what it gives alone; several on one segment add up by weight."""

import pytest
import torch
import torch.nn.functional as F
from peer import FEW, close, gradients, packed_loss, plain_logits, some_ids, some_rows, tiny_bank
from transformers.pytorch_utils import Conv1D

from tenfold.adapters import BASE, Frame, Segment, compose, frame
from tenfold.base.layout import Group
from tenfold.base.pack import pack

A, B = compose("a"), compose("b")


def test_compose():
    assert compose() == BASE == ()
    assert compose("a", ("b", 0.5)) == (("a", 1.0), ("b", 0.5))


def test_a_frame_has_a_segment_for_each_group():
    laid = pack([Group(some_rows(5, 6)), Group(some_rows(4))], "packed", "cpu")
    segments = frame(laid, [A, BASE]).segments
    assert [(s.start, s.stop, s.composition) for s in segments] == [(0, 11, A), (11, 15, BASE)]
    with pytest.raises(ValueError):
        frame(laid, [A])


@pytest.mark.parametrize("path", ["as settled", "padded"])
@pytest.mark.parametrize("family", [*FEW, "bloom", "gpt_neo"])
def test_a_mixed_pass_is_each_alone(family, path):
    path = None if path == "as settled" else path
    bank = tiny_bank(family, "a", "b")
    groups, compositions = [some_rows(9, 5), some_rows(7, seed=1), some_rows(6, 12, seed=2)], [A, BASE, B]
    together = packed_loss(bank, groups, compositions, path=path)
    mixed = {name: gradients(bank, name) for name in "ab"}
    alone = [packed_loss(bank, [rows], [c], path=path) for rows, c in zip(groups, compositions, strict=True)]
    close(together, torch.cat(alone))
    for name in "ab":
        single = gradients(bank, name)
        assert all(g.abs().max() > 0 for g in single.values())
        for key, found in mixed[name].items():
            close(found, single[key], 2e-5)


def test_one_adapter_on_several_segments_adds_its_gradients_up():
    bank = tiny_bank("llama", "a", "b")
    one, other = some_rows(9, 5), some_rows(7, seed=1)
    packed_loss(bank, [one, other, one], [A, B, A])
    found = gradients(bank, "a")
    packed_loss(bank, [one, one], [A, A])
    for key, wanted in gradients(bank, "a").items():
        close(found[key], wanted, 2e-5)


@pytest.mark.parametrize("family", FEW)
def test_weights_are_those_of_the_summed_matrices(family):
    """A composition gives what the base gives with W + sum of weight * scale * B A in the place of W."""
    bank = tiny_bank(family, "a", "b")
    found = plain_logits(bank, some_ids(), ("a", 0.75), ("b", -0.5))
    with torch.no_grad():
        for name in bank.get("a").modules:
            module, update = bank.base.model.get_submodule(name), 0
            for adapter, weight in ("a", 0.75), ("b", -0.5):
                part = bank.get(adapter).modules[name]
                update = update + weight * part.scale * part.b @ part.a
            module.weight += update.T if isinstance(module, Conv1D) else update
    close(found, plain_logits(bank, some_ids()))


def test_gradients_of_a_composition_are_those_of_its_parts_by_weight():
    bank, rows = tiny_bank("llama", "a", "b"), some_rows(9, 5)
    packed_loss(bank, [rows], [compose(("a", 0.0), "b")])
    assert all(g.abs().max() == 0 for g in gradients(bank, "a").values())
    found = gradients(bank, "b")
    packed_loss(bank, [rows], [B])
    for key, wanted in gradients(bank, "b").items():
        close(found[key], wanted)


def test_tokens_without_a_segment_are_the_bases():
    bank, ids = tiny_bank("llama", "a"), some_ids()
    with torch.no_grad(), bank.use(Frame([Segment(11, 22, A)])):
        found = bank.base.model(input_ids=ids).logits
    close(found[0], plain_logits(bank, ids)[0])
    close(found[1], plain_logits(bank, ids, "a")[1])
    assert not torch.allclose(found[1], plain_logits(bank, ids)[1], atol=0.01)


def test_an_empty_segment_does_nothing():
    bank, ids = tiny_bank("llama", "a"), some_ids()
    with torch.no_grad(), bank.use(Frame([Segment(3, 3, A)])):
        assert torch.equal(bank.base.model(input_ids=ids).logits, plain_logits(bank, ids))


def test_frames_nest_and_come_back():
    bank, ids = tiny_bank("llama", "a", "b"), some_ids()
    with torch.no_grad(), bank.use(Frame([Segment(0, 22, A)])):
        inner = plain_logits(bank, ids, "b")
        outer = bank.base.model(input_ids=ids).logits
    assert torch.equal(outer, plain_logits(bank, ids, "a"))
    assert torch.equal(inner, plain_logits(bank, ids, "b"))


def test_gradient_checkpointing_recomputes_under_the_same_frame():
    bank, rows = tiny_bank("llama", "a", "b"), [some_rows(9, 5), some_rows(7, seed=1)]
    plain = packed_loss(bank, rows, [A, B])
    wanted = gradients(bank, "a")
    bank.base.model.train()
    bank.base.model.gradient_checkpointing_enable({"use_reentrant": False})
    close(packed_loss(bank, rows, [A, B]), plain)
    for key, found in gradients(bank, "a").items():
        close(found, wanted[key])


def test_scoring_takes_no_gradients():
    bank, rows = tiny_bank("llama", "a"), some_rows(9, 5)
    with torch.no_grad():
        without = packed_loss(bank, [rows], [A], training=False)
    close(without, packed_loss(bank, [rows], [A]))
    assert F.relu(without).gt(0).all()
