"""``tenfold compare`` and the matrix's tables, through the real command line."""

import json

import pytest
from scores import case_set, share, write_run

from tenfold.cli import matrix
from tenfold.cli.tables import paper
from tenfold.evaluate import save
from tenfold.evaluate.cases import case_file
from tenfold.statistics import mcnemar


@pytest.fixture
def runs(tmp_path):
    """A run, one that is far better on one task and worse on another, and one that is as good."""
    scores = {"first": (50, 90), "other": (95, 30), "same": (52, 89)}
    for name, (a, b) in scores.items():
        losses = [1.0 + 0.01 * i + (0.5 if name == "other" else 0.0) for i in range(100)]
        save(tmp_path / name, [case_set("a", share(a, 100)), case_set("b", share(b, 100), losses=losses)])
    return [tmp_path / name for name in scores]


def test_verdicts_gate_and_numbers(tenfold, runs, tmp_path):
    code, out, err = tenfold("compare", *runs, "--json", tmp_path / "found.json")
    assert (code, err) == (0, "")
    first, other, same = runs
    assert f"a (eval) with a, exact_match: {other} is better than {first}: +0.45" in out
    assert f"b (eval) with b, exact_match: {other} is worse than {first}: -0.6" in out
    assert f"b (eval) with b, loss: {other} is worse than {first}: +0.25" in out
    assert f"a (eval) with a, exact_match: {same} is not distinguishable from {first} at this size" in out
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(one["metric"], one["test"], one["n"]) for one in found[:3]] == [
        ("exact_match", "McNemar", 100), ("exact_match", "McNemar", 100), ("loss", "bootstrap", 100),
    ]  # fmt: skip
    ours, theirs = share(95, 100), share(50, 100)
    pairs = list(zip(ours, theirs, strict=True))
    p = mcnemar(pairs.count((1, 0)), pairs.count((0, 1)))
    assert found[0]["comparison"]["p_value"] > p  # adjusted for six comparisons
    assert found[0]["sentence"] in out

    assert tenfold("compare", first, other, "--gate")[0] == 1
    assert tenfold("compare", first, same, "--gate")[0] == 0
    assert tenfold("compare", first, other, "--gate", "--task", "a")[0] == 0


def test_rows_that_differ_are_an_error_that_names_the_first(tenfold, runs):
    path = case_file(runs[1] / "cases", "a", "a")
    path.write_text(path.read_text().replace("a 7?", "b 7?"))
    code, out, err = tenfold("compare", *runs[:2])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "a (eval): case 8 is not of the same row: prompt is 'a 7?' in" in err
    path.write_text("\n".join(path.read_text().replace("b 7?", "a 7?").splitlines()[:90]))
    code, _, err = tenfold("compare", *runs[:2], "--gate")
    assert code == 2
    assert "has 100 cases" in err
    assert "has 90" in err


def test_two_adapters_of_one_run(tenfold, tmp_path):
    save(tmp_path, [case_set("a", share(50, 100), adapter=label) for label in ("base", "a")])
    save(tmp_path, [case_set("a", share(99, 100), adapter="mix")])
    code, out, _ = tenfold("compare", tmp_path, "--adapter", "own", "--adapter", "mix")
    assert code == 0
    assert f"a (eval), exact_match: {tmp_path} mix is better than {tmp_path} own: +0.49" in out
    code, out, _ = tenfold("compare", tmp_path, "--adapter", "base", "--adapter", "a")
    assert f"{tmp_path} a is not distinguishable from {tmp_path} base at this size" in out
    code, _, err = tenfold("compare", tmp_path, "--adapter", "own", "--adapter", "mux")
    assert (code, err.count("\n")) == (2, 1)
    assert "no adapter 'mux' was measured; there are: a, base, mix" in err


def test_seeds_are_paired_with_seeds(tenfold, tmp_path):
    for name, gain in (("old", 0), ("new", 40)):
        for seed in (0, 1, 2):
            save(tmp_path / name / f"seed-{seed}", [case_set("a", share(50 + gain + seed, 100))], seed=seed)
    code, out, _ = tenfold("compare", tmp_path / "old", tmp_path / "new")
    assert code == 0
    assert "is better than" in out
    assert "100 x 3 seeds" in out
    assert "bootstrap and t" in out
    save(tmp_path / "lone" / "seed-7", [case_set("a", share(50, 100))], seed=7)
    save(tmp_path / "lone" / "seed-8", [case_set("a", share(50, 100))], seed=8)
    code, _, err = tenfold("compare", tmp_path / "old", tmp_path / "lone")
    assert code == 2
    assert "none in common" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{first}"], "1 runs and 0 adapters given"),
        (["{first}", "{nowhere}"], "no run at"),
        (["{first}", "{empty}"], "nothing was measured there; use `tenfold evaluate"),
        (["{first}", "{alone}"], "have nothing in common: a (eval) with a, b (eval) with b and c (eval) with c"),
    ],
)
def test_mistakes_are_one_line(tenfold, runs, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    save(tmp_path / "alone", [case_set("c", share(5))])
    places = {name: tmp_path / name for name in ("first", "nowhere", "empty", "alone")}
    code, out, err = tenfold("compare", *[argument.format(**places) for argument in arguments])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_trained_runs_are_compared_on_everything_that_was_measured(tenfold, project):
    for name, steps in (("short", 1), ("long", 3)):
        given = ["--set", f"output_dir={project / name}", "--set", f"steps={steps}"]
        assert tenfold("train", project / "config.yaml", *given)[0] == 0
        assert tenfold("evaluate", project / name)[0] == 0
    code, out, _ = tenfold("compare", project / "short", project / "long")
    assert code == 0
    found = [line.split(":")[0] for line in out.splitlines() if " with upper, " in line]
    assert found == [
        "upper (eval) with upper, exact_match", "upper (eval) with upper, kl_to_base",
        "upper (general text) with upper, general_loss",
    ]  # fmt: skip


def test_the_matrix_is_printed(capsys, tmp_path):
    scores = {-1: {"a": 4, "b": 6}, 0: {"a": 16, "b": 6}, 1: {"a": 12, "b": 18}}
    matrix.show_matrix(write_run(tmp_path / "one", scores, [["a"], ["b"]]), paper())
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == ["exact_match", "with", "own"]
    assert lines[1] == ["stage", "name", "trains", "a", "b", "parameters"]
    assert lines[2][:3] == ["before", "training", "0.200"]
    assert lines[4][:6] == ["1", "stage", "of", "b", "b", "0.600"]
    assert lines[4][-1] == "1,020"
    assert lines[6][:4] == ["exact_match", "own", "0", "0.750"]
    assert "-0.200" in lines[6]
    for seed in (0, 1):
        write_run(tmp_path / "two" / f"seed-{seed}", scores, [["a"], ["b"]], seed=seed)
    matrix.show_matrix(tmp_path / "two", paper())
    assert "mean of 2 seeds" in capsys.readouterr().out
    save(tmp_path / "none", [case_set("a", share(3))])
    matrix.show_matrix(tmp_path / "none", paper())
    assert capsys.readouterr().out == ""


def test_a_metric_whose_cases_were_measured_again_without_it_is_left_out(tenfold, tmp_path):
    for name in ("one", "two"):
        save(tmp_path / name, [case_set("a", share(50, 100), losses=[1.0] * 100)])
    save(tmp_path / "two", [case_set("a", share(50, 100))])
    code, out, _ = tenfold("compare", tmp_path / "one", tmp_path / "two")
    assert code == 0
    assert "exact_match" in out
    assert "loss" not in out


def test_a_run_of_several_stages_shows_its_matrix(tenfold, project):
    given = ["schedule=sequential", "finetune_first=true", "tasks.sums.eval_path=sums.csv"]
    run = project / "run"
    code, _, err = tenfold("train", project / "config.yaml", *(part for one in given for part in ("--set", one)))
    assert code == 0, err
    code, out, err = tenfold("evaluate", run)
    assert code == 0, err
    kept = json.loads((run / "matrix.json").read_text())
    assert [(one["number"], one["name"], one["trains"]) for one in kept["stages"]] == [
        (-1, "before training", []), (0, "finetune upper", ["base"]), (1, "solo sums", ["sums"]),
        (2, "joint", ["sums"]),
    ]  # fmt: skip
    sizes = [one["parameters"] for one in kept["stages"]]
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]
    loss = {(one["task"], one["stage"]): one for one in kept["cells"]
            if (one["metric"], one["composition"]) == ("loss", "own")}  # fmt: skip
    assert [loss["sums", stage]["adapter"] for stage in (-1, 0, 1, 2)] == ["base", "full", "sums", "sums"]
    assert [loss["upper", stage]["adapter"] for stage in (-1, 0, 1, 2)] == ["base", "full", "full", "full"]
    found = {(one["metric"], one["composition"], one["name"]): one for one in kept["summaries"]}
    moved = found["loss", "own", "forward transfer"]
    assert moved["value"] == pytest.approx(loss["sums", -1]["value"] - loss["sums", 0]["value"])
    assert moved["low"] <= moved["value"] <= moved["high"]
    assert "loss ↓ with own" in out
    assert "KL to the base" in out
