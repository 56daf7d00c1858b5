"""PiSSA, OLoRA and EVA: the identity at birth, PEFT's numbers afterwards, the base left to its other adapters."""

import json

import pytest
import torch
from peer import close, fill, plain_logits, some_ids, some_rows, tiny_base
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import ValidationError
from tiny import tiny_model

from tenfold.adapters import Bank, Frame, Segment, activations, beginnings, compose, dora, lora
from tenfold.adapters.lora import Config
from tenfold.adapters.merging import merged
from tenfold.adapters.targets import match
from tenfold.base.quantize import Quantization, quantize
from tenfold.errors import AdapterError
from tenfold.store import card, load, save

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
WAYS = ["pissa", "pissa_niter_4", "olora"]
TARGETS = ["q_proj", "v_proj", "down_proj"]


def born(way, family="llama", **settings):
    bank = Bank(tiny_base(family))
    bank.add("a", "lora", Config(lora_r=4, lora_alpha=12, peft_init_lora_weights=way, **settings))
    return bank


def moved(bank, seed=7):
    """The adapter after a change to A and B, as training makes it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in bank.parameters("a").values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return bank


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("way", WAYS)
def test_at_birth_nothing_changes_and_both_matrices_are_at_work(way, family):
    bank, ids = born(way, family), some_ids()
    close(plain_logits(bank, ids, "a"), plain_logits(bank, ids))
    assert all(parameter.abs().max() > 0 for parameter in bank.parameters("a").values())
    assert (plain_logits(moved(bank), ids, "a") - plain_logits(bank, ids)).abs().max() > 0.01


@pytest.mark.parametrize("stable", [False, True], ids=["plain", "rslora"])
@pytest.mark.parametrize("way", ["pissa", "olora"])
def test_it_trains_as_peft_s_does_whose_base_was_changed(way, stable):
    """The same logits, and the same gradients of A and B, at birth and after a step."""
    config = LoraConfig(r=4, lora_alpha=12, use_rslora=stable, target_modules=TARGETS, init_lora_weights=way)
    peer, ids = get_peft_model(tiny_model(), config), some_ids()
    bank = born(way, lora_target_modules=TARGETS, peft_use_rslora=stable)
    places = {layer: peer.base_model.model.get_submodule(layer) for layer in bank.get("a").modules}
    for layer, part in bank.get("a").modules.items():
        theirs = places[layer].lora_B["default"].weight @ places[layer].lora_A["default"].weight
        close(part.b @ part.a, theirs, 1e-4)  # the same part of the weight, whatever the vectors' signs
        with torch.no_grad():
            for mine, constant, own in ((part.a, part.a0, "A"), (part.b, part.b0, "B")):
                constant.copy_(getattr(places[layer], f"lora_{own}")["default"].weight)
                mine.copy_(constant)
    for _ in range(2):
        for parameter in bank.parameters("a").values():
            parameter.requires_grad_().grad = None
        with bank.use(Frame([Segment(0, ids.numel(), compose("a"))], training=True)):
            found = bank.base.model(input_ids=ids).logits
            found.square().sum().backward()
        peer.zero_grad()
        wanted = peer(input_ids=ids).logits
        wanted.square().sum().backward()
        close(found.detach(), wanted.detach(), 1e-4)
        for name, parameter in bank.parameters("a").items():
            layer, _, own = name.rpartition(".")
            other = getattr(places[layer], f"lora_{own.upper()}")["default"].weight
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max()))
            with torch.no_grad():
                step = 0.01 * other.grad / other.grad.abs().max()
                parameter.sub_(step)
                other.sub_(step)


@pytest.mark.parametrize("stable", [False, True], ids=["plain", "rslora"])
@pytest.mark.parametrize("way", WAYS)
def test_the_file_is_an_ordinary_lora_of_twice_the_rank(way, stable, tmp_path):
    bank, ids = moved(born(way, peft_use_rslora=stable)), some_ids()
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    settings = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert (settings["r"], settings["init_lora_weights"]) == (8, True)
    load(bank, tmp_path / "a", "b")
    assert bank.get("b").config.scale == pytest.approx(bank.get("a").config.scale)
    assert bank.get("b").size == 2 * bank.get("a").size
    close(plain_logits(bank, ids, "b"), plain_logits(bank, ids, "a"))
    peer = PeftModel.from_pretrained(tiny_model(), tmp_path / "a").eval()
    with torch.no_grad():
        close(peer(input_ids=ids).logits, plain_logits(bank, ids, "a"), 1e-4)


@pytest.mark.parametrize("way", ["pissa", "olora"])
def test_what_peft_converts_loads_here(way, tmp_path):
    peer = get_peft_model(tiny_model(), LoraConfig(r=4, target_modules=TARGETS, init_lora_weights=way))
    peer.peft_config["default"].init_lora_weights = True
    peer.save_pretrained(tmp_path / "first")
    peer.peft_config["default"].init_lora_weights = way
    fill([p for n, p in peer.named_parameters() if "lora_" in n], seed=5)
    ids = some_ids()
    with torch.no_grad():
        wanted = peer.eval()(input_ids=ids).logits
    peer.save_pretrained(tmp_path / "a", path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a")
    close(plain_logits(bank, ids, "a"), wanted, 1e-4)


def test_others_on_the_base_and_the_base_itself_stay_as_they_are():
    bank, ids = moved(born("pissa")), some_ids()
    weights, pristine = bank.base.model.state_dict(), tiny_model().state_dict()
    assert all(torch.equal(weights[name], value) for name, value in pristine.items())
    bank.add("b", "lora", Config(lora_r=4), seed=1)
    fill(bank.parameters("b").values())
    both = torch.cat([ids, ids])
    with torch.no_grad(), bank.use(Frame([Segment(0, 22, compose("a")), Segment(22, 44, compose("b"))])):
        found = bank.base.model(input_ids=both).logits
    close(found[:2], plain_logits(bank, ids, "a"))
    close(found[2:], plain_logits(bank, ids, "b"))


@pytest.mark.parametrize("way", WAYS)
def test_merged_is_what_runs(way):
    bank, ids = moved(born(way)), some_ids()
    wanted = plain_logits(bank, ids, "a")
    with merged(bank, "a"):
        close(plain_logits(bank, ids), wanted, 1e-4)


def test_dropout_leaves_the_constants_alone():
    part = born("pissa", lora_dropout=0.5).get("a").modules["model.layers.0.mlp.up_proj"]
    x = torch.randn(5, 32)

    class All:
        def drop(self, x, p):
            return torch.zeros_like(x)

    found = part.delta(x, torch.empty(5, 64), torch.nn.Identity(), All())
    torch.testing.assert_close(found, -part.scale * (x @ part.a0.T) @ part.b0.T)
    assert part.low_rank(training=True) is None


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_on_a_base_in_few_bits_a_part_of_what_the_bits_say(how):
    base = tiny_base()
    quantize(base.model, Quantization(how), "cpu")
    bank = Bank(base)
    bank.add("a", "lora", Config(lora_r=4, peft_init_lora_weights="pissa"))
    close(plain_logits(bank, some_ids(), "a"), plain_logits(bank, some_ids()))


def test_subspace_iteration_finds_the_leading_directions():
    matrix = torch.randn(60, 40, generator=torch.Generator().manual_seed(0))
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    found = beginnings.leading(matrix, 5, 30)
    torch.testing.assert_close(found[1], s[:5])
    torch.testing.assert_close(found[0] * found[1] @ found[2], u[:, :5] * s[:5] @ vt[:5], rtol=1e-3, atol=1e-3)


# EVA


def inputs(base, rows, names):
    """Everything that goes into the layers, row after row, each run alone."""
    seen = {name: [] for name in names}
    hooks = [
        base.model.get_submodule(name).register_forward_pre_hook(lambda _, x, n=name: seen[n].append(x[0][0]))
        for name in names
    ]
    with torch.no_grad():
        for row in rows:
            base.model(input_ids=torch.tensor([list(row.tokens)]))
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_directions_are_those_of_all_inputs(family):
    """As a plain decomposition of the stacked inputs gives them, for every layer; Bloom's rows are padded."""
    base, rows = tiny_base(family), some_rows(9, 14, 6, 20, 5, 11, 13, 8)
    layers = match(base.model, lora.targets(Config()))
    found = activations.directions(base, layers, rows, 3, batch=3)
    for name, x in inputs(base, rows, [layer.name for layer in layers]).items():
        _, sizes, vt = torch.linalg.svd(x, full_matrices=False)
        close(found[name].T @ found[name], vt[:3].T @ vt[:3], 1e-2)
        assert (x @ found[name].T).norm() > 0.9999 * sizes[:3].norm()  # no three directions hold more
        close(found[name] @ found[name].T, torch.eye(3))


def test_a_sketch_keeps_the_leading_directions_of_a_long_stream():
    generator = torch.Generator().manual_seed(0)
    scale = 0.8 ** torch.arange(200)
    turn = torch.linalg.qr(torch.randn(200, 200, generator=generator))[0]
    parts = [torch.randn(90, 200, generator=generator) * scale @ turn for _ in range(6)]
    sketch = None
    for part in parts:
        sketch = activations._joined(sketch, part, 8 + activations.SPARE)
        assert sketch.shape == (8 + activations.SPARE, 200)
    vt = torch.linalg.svd(torch.cat(parts), full_matrices=False)[2][:8]
    found = sketch[:8] / sketch[:8].norm(dim=1, keepdim=True)
    close((found @ vt.T).abs(), torch.eye(8), 1e-2)


def test_eva_begins_with_them_and_is_an_ordinary_lora(tmp_path):
    bank, ids, rows = Bank(tiny_base()), some_ids(), some_rows(9, 14, 6)
    config = Config(lora_r=4, peft_init_lora_weights="eva")
    found = activations.directions(bank.base, match(bank.base.model, lora.targets(config)), rows, lora.needs(config))
    for kind, own in ("lora", config), ("dora", dora.Config(lora_r=4, peft_init_lora_weights="eva")):
        bank.add(kind, kind, own, directions=found)
        assert all(torch.equal(part.a, found[name]) for name, part in bank.get(kind).modules.items())
        close(plain_logits(bank, ids, kind), plain_logits(bank, ids))
    fill(bank.parameters("lora").values())
    save(bank, "lora", tmp_path / "a", card.describe(bank.base))
    load(bank, tmp_path / "a")
    assert bank.get("a").size == bank.get("lora").size
    assert torch.equal(plain_logits(bank, ids, "a"), plain_logits(bank, ids, "lora"))


def test_which_rows_are_looked_at_follows_from_the_seed(monkeypatch):
    monkeypatch.setattr(activations, "MOST_ROWS", 3)
    base, rows = tiny_base(), some_rows(9, 14, 6, 20, 5, 11, 13, 8)
    layers = match(base.model, lora.targets(Config()))[:1]
    first, again, other = (activations.directions(base, layers, rows, 4, seed=s)[layers[0].name] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_mistakes():
    for way in ("pisa", "pissa_niter_0", False, "loftq"):
        with pytest.raises(ValidationError, match="given; allowed: true, pissa, pissa_niter_N, olora, eva"):
            Config(peft_init_lora_weights=way)
    for way in ("pissa", "olora"):
        with pytest.raises(ValidationError, match="allowed: true, eva"):
            dora.Config(peft_init_lora_weights=way)
    bank = Bank(tiny_base())
    with pytest.raises(
        AdapterError, match=r"layer 'model.layers.0.self_attn.q_proj': .*: lora_r = 40 is more than its"
    ):
        bank.add("a", "lora", Config(lora_r=40, peft_init_lora_weights="pissa"))
    with pytest.raises(AdapterError, match="begins with what its training rows give"):
        bank.add("a", "lora", Config(peft_init_lora_weights="eva"))
    layers = match(bank.base.model, lora.targets(Config()))
    with pytest.raises(AdapterError, match="3 directions, fewer than the 8 wanted"):
        activations.directions(bank.base, layers, some_rows(3), 8)
    assert not bank.adapters
