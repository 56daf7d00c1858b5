"""LoRA's numbers by the papers and by PEFT."""

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from tiny import tiny_model
from torch import nn

from tenfold.adapters._base import Layer
from tenfold.adapters.lora import Adapter, Config, rates, size

LAYER = Layer("x", 32, 48)


def built(**settings):
    adapter = Adapter(Config(**settings), LAYER, torch.Generator().manual_seed(0))
    nn.init.normal_(adapter.b, generator=torch.Generator().manual_seed(1))
    return adapter


@pytest.mark.parametrize(
    ("rank", "alpha", "stable", "scale"),
    [(8, 16, False, 2), (16, 8, False, 0.5), (16, 8, True, 2), (3, 5, True, 5 / math.sqrt(3))],
)
def test_scale(rank, alpha, stable, scale):
    assert Config(lora_r=rank, lora_alpha=alpha, peft_use_rslora=stable).scale == pytest.approx(scale)


def test_the_update_written_out():
    adapter, x = built(lora_r=3, lora_alpha=6), torch.randn(5, 32)
    y = torch.randn(5, 48)
    wanted = 2.0 * (x @ adapter.a.T) @ adapter.b.T
    torch.testing.assert_close(adapter.delta(x, y, nn.Linear(32, 48), None), wanted)


def test_it_is_born_as_peft_bears_it():
    """A uniform within 1 / sqrt(D_in), B zero."""
    model = get_peft_model(tiny_model(), LoraConfig(r=8, target_modules=["up_proj"]))
    module = model.base_model.model.model.layers[0].mlp.up_proj
    adapter = Adapter(Config(), Layer("x", 32, 64), torch.Generator().manual_seed(0))
    theirs, ours = module.lora_A["default"].weight.detach(), adapter.a.detach()
    assert theirs.shape == ours.shape
    for weight in theirs, ours:
        assert 0.9 / math.sqrt(32) < weight.abs().max() <= 1 / math.sqrt(32)
        assert float(weight.std()) == pytest.approx(1 / math.sqrt(3 * 32), rel=0.15)
    assert adapter.b.abs().max() == module.lora_B["default"].weight.abs().max() == 0


def test_dropout_is_the_only_thing_that_keeps_it_from_being_a_product():
    assert built(lora_dropout=0.1).low_rank(training=True) is None
    assert built(lora_dropout=0.1).low_rank(training=False) is not None
    assert built().low_rank(training=True) is not None


def test_half_precision_passes_keep_their_type():
    x = torch.randn(5, 32, dtype=torch.bfloat16)
    assert built().delta(x, x, nn.Identity(), None).dtype == torch.bfloat16
    weight, _ = built().merge(torch.randn(48, 32, dtype=torch.bfloat16), None)
    assert weight.dtype == torch.bfloat16


def test_size_and_rates():
    assert size(Config(lora_r=4), LAYER) == 4 * (32 + 48)
    assert rates(Config()) == {}
    assert rates(Config(loraplus_lr_ratio=16)) == {"b": 16}


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_r": 0},
        {"lora_alpha": 0},
        {"lora_alpha": float("inf")},
        {"lora_dropout": 1},
        {"loraplus_lr_ratio": -1},
        {"rank": 4},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValidationError):
        Config(**settings)
