"""``inspect`` and ``combine`` on a trained run of a tiny model."""

import json

import pytest
from peft import PeftModel
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold.cli.combine import parse_parts
from tenfold.errors import ConfigError
from tenfold.store import card

LAYERS = 14  # of the tiny model
PNG = b"\x89PNG"


@pytest.fixture
def run(tenfold, project):
    """Two adapters, trained for a few steps."""
    code, _, err = tenfold("train", project / "config.yaml")
    assert code == 0, err
    return project / "run"


def test_inspect_shows_what_each_adapter_did(tenfold, run):
    code, out, err = tenfold("inspect", run, "--json", run.parent / "numbers.json")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert [row[:3] for row in rows if row[:1] in (["sums"], ["upper"])][:2] == [
        ["sums", "q_proj", "2"], ["sums", "k_proj", "2"],
    ]  # fmt: skip
    assert ["layer", "adapter", "sums", "upper", "by", "chance"] in rows
    assert (run / "inspect.png").read_bytes().startswith(PNG)
    found = json.loads((run.parent / "numbers.json").read_text())
    assert len(found["changes"]) == 2 * LAYERS
    assert len(found["overlaps"]) == LAYERS
    assert all(len(one["values"]) == 2 and 0 < one["relative"] < 1 for one in found["changes"])
    assert found["refused"] == {}


def test_inspect_line_by_line_of_one_folder(tenfold, run):
    place = run.parent / "plots" / "one.png"
    code, out, _ = tenfold("inspect", run / "adapters" / "upper", "--layers", "--directions", 1, "--plot", place)
    assert code == 0
    lines = [line.split() for line in out.splitlines() if line.startswith("upper")]
    assert len(lines) == LAYERS
    assert lines[0][1:3] == ["model.layers.0.self_attn.q_proj", "1"]
    assert "overlap" not in out
    assert place.read_bytes().startswith(PNG)
    assert not (run / "adapters" / "upper" / "inspect.png").exists()


def test_inspect_says_who_is_left_out_and_why(tenfold, project):
    fff = ["tasks.sums.adapter=fff", "tasks.sums.fff_intermediate_size=4"]
    code, _, err = tenfold("train", project / "config.yaml", *(word for one in fff for word in ("--set", one)))
    assert code == 0, err
    code, out, _ = tenfold("inspect", project / "run")
    assert code == 0
    assert "sums: not shown, no matrix does what fff does\n" in out
    code, out, _ = tenfold("inspect", project / "run" / "adapters" / "sums")
    assert (code, out) == (0, "sums: not shown, no matrix does what fff does\n")


def test_inspect_of_a_run_that_is_overwritten_leaves_nothing(tenfold, run):
    tenfold("inspect", run)
    code, _, err = tenfold("train", run.parent / "config.yaml", "--overwrite")
    assert code == 0, err
    assert not (run / "inspect.png").exists()


def test_inspect_of_a_run_without_adapters_is_one_line(tenfold, project):
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("    steps: 2\n", "").replace("lora_r: 2", "adapter: full"))
    code, _, err = tenfold("train", config)
    assert code == 0, err
    code, out, err = tenfold("inspect", project / "run")
    assert (code, out) == (2, "")
    assert f"{project / 'run'} has no adapters" in err


def test_inspect_of_what_is_no_run_is_one_line(tenfold, project):
    code, out, err = tenfold("inspect", project / "absent")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_combined_adapters_are_used_like_any_other(tenfold, run):
    out = run / "adapters" / "both"
    parts = [f"{run}/upper:0.5", f"{run}/adapters/sums:-0.25"]
    code, said, err = tenfold("combine", *parts, "--method", "ties_svd", "--rank", 3, "--density", 0.5, "--out", out)
    assert code == 0, err
    assert said.startswith(f"adapter: {out} (rank 3, ")
    written = card.read(out)
    assert written.settings["method"] == "ties_svd"
    assert list(written.settings["adapters"].values()) == [0.5, -0.25]
    assert written.fingerprint == card.read(run / "adapters" / "upper").fingerprint
    assert PeftModel.from_pretrained(tiny_model(), out).peft_config["default"].r == 3
    code, _, err = tenfold("generate", run, "--adapter", "both", "ab", "--task", "upper", "--max-new-tokens", 2)
    assert code == 0, err
    code, said, err = tenfold("evaluate", run, "--adapter", "both", "--task", "upper")
    assert code == 0, err
    assert "both" in said


def test_what_cannot_be_combined_is_one_line_and_leaves_nothing(tenfold, run):
    upper, sums, new = f"{run}/upper", f"{run}/sums", run.parent / "new"
    wrong = {
        "there is something already": [upper, sums, "--out", run],
        "method 'tiess': must be": [upper, sums, "--out", new, "--method", "tiess"],
        "ties needs one above 0": [upper, sums, "--out", new, "--method", "ties"],
        "weight 'x' must be a number": [f"{upper}:x", sums, "--out", new],
        "weight nan of": [f"{upper}:nan", sums, "--out", new],
        "has no adapter 'supper'": [f"{run}/supper", sums, "--out", new],
        "is given twice": [upper, f"{upper}:2", "--out", new],
        "two adapters or more; 1 given": [upper, "--out", new],
    }
    for said, arguments in wrong.items():
        code, out, err = tenfold("combine", *arguments)
        assert (code, out) == (2, "")
        assert said in err
        assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not new.exists()


def test_adapters_of_another_base_are_refused(tenfold, run, tmp_path):
    other = tmp_path / "other"
    tiny_model(seed=1).save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    second = ["--set", f"base_model={other}", "--set", f"output_dir={tmp_path / 'second'}"]
    code, _, err = tenfold("train", run.parent / "config.yaml", *second)
    assert code == 0, err
    code, out, err = tenfold("combine", f"{run}/upper", f"{tmp_path}/second/sums", "--out", tmp_path / "new")
    assert (code, out) == (2, "")
    assert f"second/adapters/sums was made for base model '{other}'" in err
    assert not (tmp_path / "new").exists()


def test_weights_stand_behind_a_colon(tmp_path):
    (tmp_path / "a:1").mkdir()
    found = parse_parts(["x/a", "x/b:0.5", "x/c:-2", str(tmp_path / "a:1")])
    assert [(place.name, weight) for place, weight in found] == [("a", 1), ("b", 0.5), ("c", -2), ("a:1", 1)]
    with pytest.raises(ConfigError, match="'x/a:': weight '' must be a number"):
        parse_parts(["x/a:"])
