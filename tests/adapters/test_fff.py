"""FFF as the research describes it, written out, and every mistake in its settings."""

import pytest
import torch
from peer import fill, plain_logits, some_ids, tiny_base
from pydantic import ValidationError
from torch import nn

from tenfold.adapters import Bank
from tenfold.adapters._base import Layer
from tenfold.adapters.fff import Adapter, Config, size
from tenfold.errors import AdapterError

LAYER = Layer("model.layers.0.mlp.up_proj", 6, 10)


def built(**settings):
    return Adapter(Config(**settings), LAYER, torch.Generator().manual_seed(0))


def test_two_blocks_written_out():
    adapter, x = built(fff_intermediate_size=[3, 5], fff_activation=["relu", "gelu"]), torch.randn(4, 6)
    fill(adapter.parameters(), spread=1.0)
    h = x
    for i, activation in enumerate((nn.ReLU(), nn.GELU())):
        norm, gate, up, down = (getattr(adapter, f"{part}_{i}") for part in ("norm", "gate", "up", "down"))
        n = h / torch.sqrt((h * h).mean(-1, keepdim=True) + 1e-6) * norm
        h = h + (activation(n @ gate.T) * (n @ up.T)) @ down.T
    torch.testing.assert_close(adapter.transform(x), h)


def test_the_research_s_sizes():
    """Seven layers of Mistral 7B, six blocks of 128: 66.23M."""
    config = Config(fff_blocks=6, fff_layers="10-16")
    assert 7 * size(config, Layer("x", 4096, 14336)) == 66_232_320


def test_born_as_asked():
    x = torch.randn(4, 6)
    assert torch.equal(built().transform(x), x)
    normal = built(fff_init="normal", fff_intermediate_size=400)
    for part in ("gate_0", "up_0", "down_0"):
        assert float(getattr(normal, part).detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not torch.equal(normal.transform(x), x)
    assert all(float(a.norm_0.detach().min()) == 1 for a in (built(), normal))


def test_one_value_or_one_a_block():
    assert Config().widths == [128]
    assert Config(fff_blocks=3, fff_intermediate_size=8).widths == [8, 8, 8]
    assert Config(fff_intermediate_size=[8, 4]).widths == [8, 4]
    assert Config(fff_activation=["silu", "relu"]).widths == [128, 128]
    assert Config(fff_blocks=2).activations == ["silu", "silu"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fff_blocks": 0}, "greater than or equal to 1"),
        ({"fff_intermediate_size": 0}, "at least 1"),
        ({"fff_intermediate_size": []}, "at least 1"),
        ({"fff_intermediate_size": [8, 4], "fff_blocks": 3}, "fff_intermediate_size has 2 entries for 3 blocks"),
        ({"fff_intermediate_size": [8, 4], "fff_activation": ["silu"]}, "fff_activation has 1 entries for 2 blocks"),
        ({"fff_activation": "sulu"}, "did you mean 'silu'"),
        ({"fff_activation": "prelu"}, "parameters of its own"),
        ({"fff_layers": "20-10"}, "no range"),
        ({"fff_layers": "ten"}, "no range"),
        ({"fff_layers": []}, "numbers from 0"),
        ({"fff_init": "ones"}, "'zero' or 'normal'"),
    ],
    ids=str,
)
def test_mistakes(settings, message):
    with pytest.raises(ValidationError, match=message):
        Config(**settings)


def test_only_in_the_layers_asked_for():
    bank = Bank(tiny_base())
    bank.add("a", "fff", Config(fff_target="gate_proj", fff_layers=[1]))
    assert list(bank.get("a").modules) == ["model.layers.1.mlp.gate_proj"]
    with pytest.raises(AdapterError, match="no such layer 2"):
        bank.add("b", "fff", Config(fff_layers="1-3"))


def test_it_is_the_plain_model_with_the_blocks_before_its_projection():
    bank, ids = Bank(tiny_base()), some_ids()
    bank.add("a", "fff", Config(fff_blocks=2, fff_intermediate_size=4))
    fill(bank.parameters("a").values(), spread=0.5)
    found = plain_logits(bank, ids, "a")
    modules = bank.get("a").modules
    plain = tiny_base().model
    for name, adapter in modules.items():
        plain.get_submodule(name).register_forward_pre_hook(
            lambda _, args, adapter=adapter: (adapter.transform(args[0].flatten(0, 1)).view_as(args[0]),)
        )
    with torch.no_grad():
        torch.testing.assert_close(found, plain(input_ids=ids).logits)
