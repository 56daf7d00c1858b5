"""The commands on a tiny model, end to end."""

import json

import pytest

from tenfold.cli.generate import parse_columns
from tenfold.cli.tables import spark
from tenfold.errors import ConfigError


def test_data_shows_rows_lengths_leaks_and_what_the_loss_counts(tenfold, project):
    code, out, _ = tenfold("data", project / "config.yaml", "--plot", project / "plot.png")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:4]] == [
        ["upper", "train", "5"], ["upper", "eval", "5"], ["sums", "train", "3"],
    ]  # fmt: skip
    assert "ab -> AB</s>" in out
    assert "5 of 5 inputs stand in upper train" in out
    assert (project / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_data_says_where_a_missing_column_stands(tenfold, project):
    code, out, err = tenfold("data", project / "config.yaml", "--set", "tasks.sums.prompt={x}")
    assert (code, out) == (2, "")
    assert err.startswith("error: --set tasks.sums.prompt={x}: tasks.sums")
    assert "'x'" in err
    assert err.count("\n") == 1


def test_dry_run_prints_the_stages_and_leaves_nothing(tenfold, project):
    code, out, _ = tenfold("train", project / "config.yaml", "--dry-run")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:2] == ["stage", "0:"]
    upper, sums = lines[2], lines[3]
    assert upper[:6] == ["upper", "upper", "upper", "5", "4", "3"]
    assert sums[:6] == ["sums", "sums", "sums", "3", "4", "2"]
    assert upper[-1] == sums[-1]  # the same rank on the same layers
    assert lines[4][:2] == ["memory:", "about"]
    assert not (project / "run").exists()


def test_train_then_evaluate_then_generate(tenfold, project):
    code, out, err = tenfold("train", project / "config.yaml")
    assert code == 0, err
    assert "exact_match" in out
    run = project / "run"
    assert {"results.json", "plan.json", "config.yaml", "metrics.jsonl"} <= {path.name for path in run.iterdir()}
    assert (run / "adapters" / "upper" / "adapter_model.safetensors").is_file()

    before = json.loads((run / "results.json").read_text())
    code, out, _ = tenfold("evaluate", run, "--task", "upper")
    assert code == 0
    assert "exact_match" in out
    assert len(json.loads((run / "results.json").read_text())) == len(before)

    code, out, _ = tenfold("generate", run, "--adapter", "upper", "ab", "cd", "--max-new-tokens", 3)
    assert code == 0
    code, _, _ = tenfold("generate", run, "--adapter", "sums", "--column", "a=1", "--column", "b=2")
    assert code == 0

    code, _, err = tenfold("train", project / "config.yaml")
    assert code == 2
    assert err.startswith("error: ")
    for wrong in (["--adapter", "uper", "x"], ["--adapter", "sums", "1+2"], ["--adapter", "upper"]):
        code, out, err = tenfold("generate", run, *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1), err


def test_what_is_no_run_is_one_line(tenfold, project):
    for name in ("evaluate", "generate"):
        extra = ["--adapter", "x", "text"] if name == "generate" else []
        code, _, err = tenfold(name, project / "absent", *extra)
        assert (code, err.count("\n")) == (2, 1)
        assert "absent" in err


def test_columns_of_a_request():
    assert parse_columns(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ConfigError, match="--column"):
            parse_columns(wrong)


def test_spark_lines():
    assert spark([0, 0, 9], 9, width=2) == "█▄"
    assert spark([], 9, width=3) == "   "


def test_routing_from_the_command_line(tenfold, project):
    rows = [{"text": word, "answer": word.upper()} for word in ("one two", "two six", "six one", "one six", "two one")]
    (project / "sums.csv").write_text("text,answer\n" + "".join(f"{row['text']},{row['answer']}\n" for row in rows))
    config = (project / "config.yaml").read_text().replace("{a}+{b}=", "{text}=").replace("{c}", "{answer}")
    (project / "config.yaml").write_text(config)
    code, out, err = tenfold("train", project / "config.yaml")
    assert code == 0, err
    assert "routed" in out
    run = project / "run"

    code, out, err = tenfold("route", run, "two six one", "ab cd")
    assert code == 0, err
    assert out.count("█") > 30
    assert "sure" in out
    code, out, err = tenfold("generate", run, "two six one", "--max-new-tokens", 2)
    assert code == 0, err
    assert "sums" in err
    assert "sure" in err

    code, out, err = tenfold("route", "fit", run, "--kind", "nearest")
    assert code == 0, err
    assert out.startswith("nearest between upper, sums")
    (project / "other.txt").write_text("Quantum chromodynamics\nanother strange line\n")
    code, out, err = tenfold("route", "eval", run, "--ood", project / "other.txt")
    assert code == 0, err
    assert {"soft", "random", "merged", "routed"} <= set(out.split())
    assert "unrelated text" in out

    for wrong in (["fit"], ["fit", run, "x"], [run], [project / "absent", "x"], ["fit", run, "--kind", "nearst"]):
        code, out, err = tenfold("route", *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1), err
    code, _, err = tenfold("train", project / "config.yaml", "--overwrite", "--set", "router=none")
    assert code == 0, err
    code, out, err = tenfold("generate", run, "ab")
    assert (code, out) == (2, "")
    assert "tenfold route fit RUN" in err
