"""Sizes without weights, by the numbers of the research, and matched budgets by building what was found."""

import json

import pytest
from peer import tiny_base
from typer.testing import CliRunner

from tenfold import base, plugins
from tenfold.adapters import Bank, sizes
from tenfold.cli import application
from tenfold.errors import AdapterError

MISTRAL = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096, "vocab_size": 32000,
    "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 128,
}  # fmt: skip
KINDS = plugins.names("tenfold.adapters")


@pytest.fixture
def mistral(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL))
    return tmp_path


def last_line(*arguments):
    result = CliRunner().invoke(application(arguments), arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.strip().splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_counted_is_what_is_built(kind):
    bank = Bank(tiny_base())
    config = plugins.find("tenfold.adapters", kind).Config()
    assert sizes.total(bank.base.model, {kind: config}) == bank.add("a", kind, config).size


def test_the_research_s_numbers(mistral):
    lines = last_line("params", "--base", str(mistral), "--adapter", "lora", "--set", "lora_r=24")
    assert lines[-1] == "total: 62,914,560 parameters (62.91M)"
    lines = last_line(
        "params", "--base", str(mistral), "--adapter", "fff", "--set", "fff_blocks=6", "--set", "fff_layers=10-16"
    )
    assert lines[-1] == "total: 66,232,320 parameters (66.23M)"
    lines = last_line(
        "params", "--base", str(mistral), "--adapter", "lora+fff", "--set", "lora_r=24", "--set", "fff_blocks=6",
        "--set", "fff_layers=10-16",
    )  # fmt: skip
    assert lines[-1] == "total: 129,146,880 parameters (129.15M)"


@pytest.mark.parametrize("other", ["lora", "dora", "fff", "bottleneck"])
@pytest.mark.parametrize("wanted", [3000, 20000, 123457])
def test_the_nearest_budget(other, wanted):
    model, module = tiny_base().model, plugins.find("tenfold.adapters", other)
    config, reached = sizes.matched(model, other, module.Config(), wanted)
    key = module.BUDGET
    assert sizes.total(model, {other: config}) == reached
    for step in (-1, 1):
        if (value := getattr(config, key) + step) >= 1:
            near = sizes.total(model, {other: module.Config(**{key: value})})
            assert abs(near - wanted) >= abs(reached - wanted)


def test_a_match_on_the_command_line(mistral):
    lines = last_line("params", "--base", str(mistral), "--set", "lora_r=24", "--match", "fff")
    assert lines[-2].startswith("fff with fff_intermediate_size = 160: 63,045,632 parameters, +131,072 (+0.21%)")


def test_what_cannot_be_matched():
    module = plugins.find("tenfold.adapters", "ia3")
    with pytest.raises(AdapterError, match="no rank or width"):
        sizes.matched(tiny_base().model, "ia3", module.Config(), 100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--adapter", "lore"), "--adapter 'lore': must be bottleneck, dora, fff, ia3, lora; did you mean 'lora'"),
        (("--adapter", "lora+lora"), "--adapter 'lora+lora': says lora twice"),
        (("--set", "fff_blocks=2"), "fff_blocks: is no setting of lora"),
        (("--set", "lora_r=0"), "lora_r: 0 given; must be greater than or equal to 1"),
        (("--set", "lora_r=x"), "lora_r: 'x' given; must be a whole number"),
    ],
    ids=str,
)
def test_mistakes(mistral, arguments, message):
    given = ["params", "--base", str(mistral), *arguments]
    result = CliRunner().invoke(application(given), given)
    assert result.exit_code == 2
    assert message in result.output


def test_a_skeleton_has_no_weights(mistral):
    assert all(p.device.type == "meta" for p in base.skeleton(str(mistral)).parameters())
