"""The FFF study: what its steps compare, at both sizes, and all of it on a tiny base."""

import importlib.util
import json
import pathlib

import pytest
from transformers import MistralConfig

from tenfold import sweep

FFF = pathlib.Path(__file__).parents[2] / "examples" / "fff"
STEPS = ["step1_i", "step1_ii", "step1_iii", "step1_iv", "step2"]


@pytest.fixture(scope="module")
def mistral(tmp_path_factory):
    """The shape of Mistral-7B, without weights."""
    folder = tmp_path_factory.mktemp("mistral")
    MistralConfig(num_key_value_heads=8, architectures=["MistralForCausalLM"]).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("step", STEPS)
def test_every_step_compares_at_one_size_of_the_full_model(step, mistral):
    plan = sweep.prepare(sweep.load(FFF / "mistral" / f"{step}.yaml", [f"config.base_model={mistral}"]))
    listed = plan.listed()
    assert len({one.point.group for one in listed}) >= 2
    assert all(one.point.seed == 12 for one in listed)
    assert 3e-5 in {one.rate for one in listed}
    worst = max(abs(one.parameters - plan.budget) for one in listed)
    assert worst / plan.budget < 0.005  # half a step of the width in every block
    if step == "step2":
        assert 120e6 < plan.budget < 130e6  # the research's 120M and 129M


@pytest.mark.parametrize("step", STEPS)
def test_both_sizes_compare_the_same(step):
    small, full = (sweep.load(place / f"{step}.yaml") for place in (FFF, FFF / "mistral"))
    assert small.settings.compare == full.settings.compare
    assert small.seeds == full.seeds
    assert list(small.base.values["tasks"]) == list(full.base.values["tasks"])


@pytest.fixture
def study(examples):
    spec = importlib.util.spec_from_file_location("study", examples / "fff" / "study.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_settled_is_carried_on(study):
    entry = {"name": "x", "set": {"adapter": "lora+fff", "fff_blocks": 2, "fff_activation": ["silu", "relu"]}}
    one = study.carry(entry, {"fff_blocks": 1, "fff_target": "gate_proj"})["set"]
    assert (one["fff_blocks"], one["fff_activation"], one["fff_target"]) == (2, ["silu", "relu"], "gate_proj")
    assert study.carry({"name": "x", "set": {"adapter": "lora"}}, {"fff_blocks": 1})["set"] == {"adapter": "lora"}


@pytest.mark.slow
def test_the_whole_study(study, tiny_base, tmp_path, capsys):
    small = [f"base_model={tiny_base}", "max_rows=8", "val_set_size=3", "sequence_len=64", "eval_steps=null"]
    words = [
        "--out",
        str(tmp_path / "out"),
        "--set",
        "learning_rates=[0.001]",
        *(w for s in small for w in ("--set", f"config.{s}")),
    ]
    assert study.main(words) == 0
    told = json.loads((tmp_path / "out" / "study.json").read_text())
    assert list(told) == STEPS
    last = told["step2"]
    assert {row["trials"] for row in last["comparison"]["rows"]} == {3}
    assert {row["task"] for row in last["comparison"]["rows"]} == {"code", "maths", "chat", "thinker"}
    for key in ("fff_blocks", "fff_target", "fff_activation"):
        assert last["best"]["settings"][key] == told["step1_ii"]["settled"][key]
    out = capsys.readouterr().out
    assert "lora+fff is " in out
    assert "thinker*" in out
    assert f"The best hyperparameters for the FFF network are: {last['best']['legend']}" in out
    before = (tmp_path / "out" / "step1_i" / "sweep.json").read_bytes()
    assert study.main(words) == 0  # all there: nothing is trained again
    assert (tmp_path / "out" / "step1_i" / "sweep.json").read_bytes() == before
