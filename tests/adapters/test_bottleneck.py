"""The bottleneck as the papers write it, around the MLPs of many families, and what is said where there are none."""

import json

import pytest
import torch
import transformers
from peer import close, fill, gradients, packed_loss, plain_logits, some_ids, some_rows, tiny_base
from pydantic import ValidationError
from tiny import COMMON, FAMILIES, LLAMA, tiny_model
from tokens import tiny_tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from tenfold.adapters import Bank, Frame, Segment, compose, lora, sizes
from tenfold.adapters.bottleneck import Config, size, targets
from tenfold.adapters.merging import merged
from tenfold.adapters.targets import match, mlps
from tenfold.base.model import Base
from tenfold.errors import AdapterError
from tenfold.store import card, load, save

PLACEMENTS = ["serial", "parallel"]
WITHOUT = {"bloom"}
MOE = {**LLAMA, "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}


def bank_of(placement="serial", family="llama", **settings):
    bank = Bank(tiny_base(family))
    bank.add("a", "bottleneck", Config(bottleneck_placement=placement, bottleneck_size=5, **settings))
    fill(bank.parameters("a").values(), spread=0.3)
    return bank


class Wrapped(nn.Module):
    """An MLP with a bottleneck, written out with plain layers."""

    def __init__(self, mlp, part, config):
        super().__init__()
        self.mlp, self.config = mlp, config
        self.down, self.up = nn.Linear(*part.down.shape[::-1]), nn.Linear(*part.up.shape[::-1])
        values = {"weight": part.down, "bias": part.down_bias}, {"weight": part.up, "bias": part.up_bias}
        for layer, state in zip((self.down, self.up), values, strict=True):
            layer.load_state_dict({key: value.detach() for key, value in state.items()})

    def forward(self, x):
        y = self.mlp(x)
        act = {"relu": F.relu, "gelu": F.gelu}[self.config.bottleneck_activation]
        h = y if self.config.bottleneck_placement == "serial" else x
        return y + self.config.bottleneck_scale * self.up(act(self.down(h)))


@pytest.mark.parametrize("settings", [{}, {"bottleneck_activation": "gelu", "bottleneck_scale": 4.0}], ids=str)
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2", "gpt_neo", "phi"])
def test_it_is_the_plain_model_with_wrapped_mlps(family, placement, settings):
    """Logits, and the gradients of every parameter."""
    bank, ids, plain = bank_of(placement, family, **settings), some_ids(), tiny_model(family)
    installed = bank.get("a")
    assert len(installed.modules) == 2
    for name, part in installed.modules.items():
        plain.set_submodule(name, Wrapped(plain.get_submodule(name), part, installed.config))
    wanted = plain(input_ids=ids).logits
    wanted.square().sum().backward()
    with bank.use(Frame([Segment(0, ids.numel(), compose("a"))], training=True)):
        found = bank.base.model(input_ids=ids).logits
        found.square().sum().backward()
    close(found.detach(), wanted.detach())
    for name, part in installed.modules.items():
        own = plain.get_submodule(name)
        for mine, theirs in (
            (part.down, own.down.weight), (part.down_bias, own.down.bias),
            (part.up, own.up.weight), (part.up_bias, own.up.bias),
        ):  # fmt: skip
            assert theirs.grad.abs().max() > 0
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-5 * float(theirs.grad.abs().max()))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_it_lives_around_layers_that_have_adapters_too(placement):
    """LoRA on the linear layers inside, in one composition and in a batch with others."""
    bank, ids = bank_of(placement), some_ids()
    bank.add("b", "lora", lora.Config(lora_r=4))
    fill(bank.parameters("b").values(), seed=2)
    plain = tiny_model()
    with torch.no_grad():
        for name, part in bank.get("b").modules.items():
            plain.get_submodule(name).weight += part.scale * part.b @ part.a
    for name, part in bank.get("a").modules.items():
        plain.set_submodule(name, Wrapped(plain.get_submodule(name), part, bank.get("a").config))
    with torch.no_grad():
        wanted = plain(input_ids=ids).logits
    close(plain_logits(bank, ids, "a", "b"), wanted)
    segments = [Segment(0, 11, compose("a", "b")), Segment(11, 22, compose("b"))]
    with torch.no_grad(), bank.use(Frame(segments)):
        found = bank.base.model(input_ids=ids).logits
    close(found[0], wanted[0])
    close(found[1], plain_logits(bank, ids, "b")[1])


def mixture(name="MixtralConfig", **settings):
    """A bank on a tiny model whose MLPs choose among experts."""
    torch.manual_seed(0)
    config = getattr(transformers, name)(**MOE, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    return Bank(Base(model.eval().requires_grad_(False), tiny_tokenizer(), name, f"fingerprint of {name}"))


@pytest.mark.parametrize("name", ["MixtralConfig", "Qwen2MoeConfig"])
def test_an_mlp_of_experts_is_one_module(name):
    bank, rows = mixture(name), some_rows(9, 12, 7)
    bank.add("a", "bottleneck", Config(bottleneck_size=5))
    close(plain_logits(bank, some_ids(), "a"), plain_logits(bank, some_ids()))
    fill(bank.parameters("a").values(), spread=0.3)
    together = packed_loss(bank, [rows, rows], [compose("a"), ()])
    mixed = gradients(bank, "a")
    close(together[:1], packed_loss(bank, [rows], [compose("a")]))
    for key, gradient in gradients(bank, "a").items():
        assert gradient.abs().max() > 0
        close(mixed[key], gradient, 2e-5)
    close(together[1:], packed_loss(bank, [rows], [()], training=False))


def test_an_mlp_that_gives_more_than_a_tensor_is_refused():
    bank = mixture("GptOssConfig", head_dim=8)
    bank.add("a", "bottleneck", Config())
    with pytest.raises(AdapterError, match=r"model.layers.0.mlp gives tuple, not one tensor like its input"):
        plain_logits(bank, some_ids(), "a")


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - WITHOUT))
def test_one_mlp_in_every_layer(family):
    model = tiny_model(family)
    found = match(model, targets(Config()))
    assert [layer.name for layer in found] == list(mlps(model))
    assert len(found) == 2
    seen = {}
    for layer in found:
        model.get_submodule(layer.name).register_forward_hook(lambda _, x, y, n=layer.name: seen.update({n: (x, y)}))
    with torch.no_grad():
        model(input_ids=torch.arange(5)[None])
    for layer in found:
        (x,), y = seen[layer.name]
        assert (x.shape[-1], y.shape[-1]) == (layer.d_in, layer.d_out)


def test_models_without_an_mlp_of_their_own_are_refused():
    with pytest.raises(AdapterError, match=r"h.0.mlp of BloomForCausalLM takes hidden_states, residual, not only its"):
        Bank(tiny_base("bloom")).add("a", "bottleneck", Config())
    opt = transformers.OPTConfig(**COMMON, ffn_dim=64, word_embed_proj_dim=32)
    with pytest.raises(AdapterError, match="OPTForCausalLM has no MLP that is a module of its own"):
        match(AutoModelForCausalLM.from_config(opt), targets(Config()))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_its_file(placement, tmp_path):
    bank = bank_of(placement, bottleneck_layers=[1], bottleneck_scale=2.0, bottleneck_activation="silu")
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    settings = json.loads((tmp_path / "a/adapter_config.json").read_text())
    assert (settings["peft_type"], settings["target_modules"]) == ("BOTTLENECK", ["model.layers.1.mlp"])
    load(bank, tmp_path / "a", "b")
    assert torch.equal(plain_logits(bank, some_ids(), "a"), plain_logits(bank, some_ids(), "b"))
    broken = {"target_modules": ["mlp", "up_proj"]}
    (tmp_path / "a/adapter_config.json").write_text(json.dumps(settings | broken))
    with pytest.raises(AdapterError, match=r"target 'model.layers.0.mlp.up_proj' is no MLP that can hold an adapter"):
        load(bank, tmp_path / "a", "c")
    (tmp_path / "a/adapter_config.json").write_text(json.dumps(settings | {"bottleneck_sise": 3}))
    with pytest.raises(AdapterError, match="bottleneck_sise is not known; did you mean 'bottleneck_size'"):
        load(bank, tmp_path / "a", "c")


def test_it_cannot_be_merged_and_the_reason_is_given():
    bank = bank_of()
    told = "'a' cannot be merged: no matrix does what bottleneck does"
    with pytest.raises(AdapterError, match=told), merged(bank, "a"):
        pass


def test_sizes_with_biases():
    bank = bank_of()
    [own] = {size(bank.get("a").config, layer) for layer in match(bank.base.model, targets(Config()))}
    assert own == 2 * 32 * 5 + 5 + 32
    config, reached = sizes.matched(bank.base.model, "bottleneck", Config(), 3000)
    assert reached == bank.add("b", "bottleneck", config).size
    assert abs(reached - 3000) <= 65


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bottleneck_size": 0}, "greater than or equal to 1"),
        ({"bottleneck_activation": "rleu"}, "did you mean 'relu'"),
        ({"bottleneck_activation": "prelu"}, "parameters of its own"),
        ({"bottleneck_placement": "before"}, "'serial' or 'parallel'"),
        ({"bottleneck_scale": 0}, "greater than 0"),
        ({"bottleneck_layers": "9-3"}, "no range"),
    ],
    ids=str,
)
def test_mistakes(settings, message):
    with pytest.raises(ValidationError, match=message):
        Config(**settings)
