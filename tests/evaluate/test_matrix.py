"""The matrix and its summaries beside values worked out by hand."""

import json
import math

import numpy as np
import pytest
from scores import case_set, share, write_run

from tenfold.errors import RunError
from tenfold.evaluate import keep_transfer, measure_transfer, read_results, save
from tenfold.evaluate.cases import case_file, case_folder
from tenfold.evaluate.matrix import Matrix, Term, build, first_trained, summaries
from tenfold.evaluate.results import Result
from tenfold.evaluate.tables import find_cell, name_columns, show_interval, summary_rows
from tenfold.evaluate.transfer import seed_folders
from tenfold.statistics import Estimate, average, compare, mean_rows

# Right of 20 after each stage (columns: tasks a, b, c, trained in turn), and before any.
SCORES = {
    -1: {"a": 4, "b": 6, "c": 2},
    0: {"a": 16, "b": 8, "c": 4},
    1: {"a": 12, "b": 18, "c": 7},
    2: {"a": 14, "b": 10, "c": 20},
}
TRAINED = [["a"], ["b"], ["c"]]


def cell(task, stage, value, metric="exact_match", adapter=None, higher=True, **more):
    label = adapter or task
    composition = () if label == "base" else ((label, 1.0),)
    return Result(
        task,
        "eval",
        label,
        composition,
        stage,
        0,
        metric,
        value,
        math.nan,
        math.nan,
        20,
        higher_is_better=higher,
        **more,
    )


def table(scores, **more):
    return [cell(task, stage, right / 20, **more) for stage, row in scores.items() for task, right in row.items()]


def values(matrix, first):
    return {name: np.mean([term.value for term in terms]) for name, terms in summaries(matrix, first).items()}


def shown(matrix):
    return {stage: [one.value for one in row.values()] for stage, row in matrix.cells.items()}


def own_of(matrices):
    (found,) = (matrix for matrix in matrices if matrix.composition == "own")
    return found


def test_summaries_are_those_of_the_papers():
    matrix = own_of(build(table(SCORES)))
    assert (matrix.composition, matrix.last, matrix.columns) == ("own", 2, [(t, "eval") for t in "abc"])
    found = values(matrix, {"a": 0, "b": 1, "c": 2})
    assert found == pytest.approx({
        "average": (14 + 10 + 20) / 3 / 20,
        "backward transfer": ((14 - 16) + (10 - 18)) / 2 / 20,
        "forward transfer": ((8 - 6) + (7 - 2)) / 2 / 20,
        "forgetting": ((16 - 14) + (18 - 10)) / 2 / 20,
    })  # fmt: skip


def test_forgetting_looks_back_to_the_best_stage_and_backward_transfer_to_the_first():
    matrix = own_of(build(table({0: {"a": 10}, 1: {"a": 17}, 2: {"a": 12}})))
    assert values(matrix, {"a": 0}) == pytest.approx({"average": 0.6, "backward transfer": 0.1, "forgetting": 0.25})


def test_a_loss_that_falls_is_a_gain():
    scores = {-1: {"a": 60, "b": 80}, 0: {"a": 30, "b": 60}, 1: {"a": 40, "b": 20}}
    matrix = own_of(build(table(scores, metric="loss", higher=False)))
    assert values(matrix, {"a": 0, "b": 1}) == pytest.approx(
        {"average": 1.5, "backward transfer": -0.5, "forward transfer": 1.0, "forgetting": 0.5}
    )


def test_a_joint_stage_after_the_last_task_counts_as_later_learning():
    matrix = own_of(build(table({0: {"a": 10, "b": 0}, 1: {"a": 8, "b": 12}, 2: {"a": 10, "b": 16}})))
    plan = [
        {"lanes": [{"learners": ["a"], "feeds": [{"task": "a"}]}]},
        {"lanes": [{"learners": ["b"], "feeds": [{"task": "b"}]}]},
        {"lanes": [{"learners": [], "feeds": [{"task": "c"}]},
                   {"learners": ["a"], "feeds": [{"task": "a"}, {"task": "b"}]}]},
    ]  # fmt: skip
    assert first_trained(plan) == {"a": 0, "b": 1}
    assert values(matrix, first_trained(plan))["backward transfer"] == pytest.approx((0 + 4) / 2 / 20)


def test_before_its_adapter_is_there_the_base_answers():
    base = table({-1: {"a": 2, "b": 4}, 0: {"a": 2, "b": 4}, 1: {"a": 2, "b": 4}}, adapter="base")
    own = [cell("a", 0, 0.8), cell("a", 1, 0.8), cell("b", 1, 0.9)]
    found = {matrix.composition: matrix for matrix in build([*base, *own])}
    assert set(found) == {"base", "own", "a", "b"}
    assert shown(found["own"]) == {-1: [0.1, 0.2], 0: [0.8, 0.2], 1: [0.8, 0.9]}
    worth = values(found["own"], {"a": 0, "b": 1})
    assert (worth["backward transfer"], worth["forward transfer"], worth["forgetting"]) == (0.0, 0.0, 0.0)


def test_a_base_that_was_trained_answers_as_it_is_by_then():
    """Task a is finetuned into the base, then b and c have adapters, on every task, alone and stacked."""
    base = table({stage: {"a": 2, "b": 4, "c": 6} for stage in (-1, 0, 1, 2)}, adapter="base")
    full = table({stage: {"a": 18, "b": 8, "c": 10} for stage in (0, 1, 2)}, adapter="full")
    b = table({stage: {"a": 16, "b": 12 + stage, "c": 9} for stage in (1, 2)}, adapter="b")
    c = table({2: {"a": 15, "b": 7, "c": 19}}, adapter="c")
    both = table({2: {"a": 14, "b": 15, "c": 17}}, adapter="b+c")
    found = {matrix.composition: matrix for matrix in build([*base, *full, *b, *c, *both])}
    assert set(found) == {"base", "full", "own", "stacked", "b", "c"}
    assert shown(found["own"]) == {-1: [0.1, 0.2, 0.3], 0: [0.9, 0.4, 0.5], 1: [0.9, 0.65, 0.5], 2: [0.9, 0.7, 0.95]}
    assert shown(found["stacked"]) == {
        -1: [0.1, 0.2, 0.3], 0: [0.9, 0.4, 0.5], 1: [0.8, 0.65, 0.45], 2: [0.7, 0.75, 0.85],
    }  # fmt: skip
    assert values(found["stacked"], {"a": 0, "b": 1, "c": 2}) == pytest.approx({
        "average": (0.7 + 0.75 + 0.85) / 3,
        "backward transfer": ((0.7 - 0.9) + (0.75 - 0.65)) / 2,
        "forward transfer": ((0.4 - 0.2) + (0.45 - 0.3)) / 2,
        "forgetting": ((0.9 - 0.7) + (0.65 - 0.75)) / 2,
    })  # fmt: skip


def test_a_run_that_trains_only_the_base_has_one_row_a_stage():
    full = table({0: {"a": 18, "b": 8}, 1: {"a": 10, "b": 16}}, adapter="full")
    found = {matrix.composition: matrix for matrix in build(full)}
    assert shown(found["own"]) == {0: [0.9, 0.4], 1: [0.5, 0.8]}


def test_what_was_not_measured_is_left_out():
    matrix = own_of(build(table({1: {"a": 4}})))
    assert list(summaries(matrix, {"a": 0})) == ["average"]
    assert summaries(matrix, {}) == {}
    assert build([cell("a", None, 0.5)]) == []


def test_a_run_folder_gives_intervals_over_the_cases_of_both_stages(tmp_path):
    run = write_run(tmp_path / "run", SCORES, TRAINED)
    found = measure_transfer(run)
    assert [(s.number, s.name, s.trains, s.parameters) for s in found.stages] == [
        (-1, "before training", [], 1000), (0, "stage of a", ["a"], 1010), (1, "stage of b", ["b"], 1020),
        (2, "stage of c", ["c"], 1030),
    ]  # fmt: skip
    (seed,) = found.seeds
    own = seed.summaries["exact_match", "own"]
    paired = [
        compare(mean_rows(share(SCORES[2][t])), mean_rows(share(SCORES[first][t]))) for t, first in (("a", 0), ("b", 1))
    ]
    wanted = average([Estimate(c.difference, c.low, c.high, 20) for c in paired])
    assert own["backward transfer"] == wanted
    assert wanted.low < wanted.value < wanted.high
    turned = own["forgetting"]
    assert (turned.value, turned.low, turned.high) == pytest.approx((-wanted.value, -wanted.high, -wanted.low))
    assert found.over_seeds == {}


def test_the_matrix_is_kept_as_json(tmp_path):
    run = write_run(tmp_path / "run", SCORES, TRAINED)
    keep_transfer(run)
    kept = json.loads((run / "matrix.json").read_text())
    assert [stage["parameters"] for stage in kept["stages"]] == [1000, 1010, 1020, 1030]
    own = [c for c in kept["cells"] if c["composition"] == "own"]
    assert len(own) == 12
    assert {(c["task"], c["stage"]): c["value"] for c in own} == {
        (task, stage): right / 20 for stage, row in SCORES.items() for task, right in row.items()
    }
    forgot = next(one for one in kept["summaries"] if one["name"] == "forgetting")
    assert forgot["value"] == pytest.approx(0.25)
    assert (forgot["seed"], forgot["n"]) == (0, 40)


def test_several_seeds_have_students_interval(tmp_path):
    for seed, shift in enumerate((0, 1, 2)):
        scores = {stage: {t: max(0, n - shift * (stage == 2)) for t, n in row.items()} for stage, row in SCORES.items()}
        write_run(tmp_path / f"seed-{seed}", scores, TRAINED, seed=seed)
    (tmp_path / "seed-x").mkdir()
    assert [folder.name for folder in seed_folders(tmp_path)] == ["seed-0", "seed-1", "seed-2"]
    found = measure_transfer(tmp_path)
    assert [seed.seed for seed in found.seeds] == [0, 1, 2]
    mean = found.over_seeds["exact_match", "own"]["average"]
    each = [(44 - 3 * shift) / 60 for shift in (0, 1, 2)]
    assert (mean.value, mean.n) == (pytest.approx(np.mean(each)), 3)
    assert mean.high - mean.value == pytest.approx(4.302653 * np.std(each, ddof=1) / math.sqrt(3), rel=1e-5)
    keep_transfer(tmp_path)
    kept = json.loads((tmp_path / "matrix.json").read_text())
    assert {one["seed"] for one in kept["summaries"]} == {0, 1, 2, None}


def test_a_run_without_stages_has_no_matrix(tmp_path):
    save(tmp_path, [case_set("a", share(3))])
    assert len(read_results(tmp_path / "results.json")) == 1
    assert keep_transfer(tmp_path) is None
    assert not (tmp_path / "matrix.json").exists()


def test_cases_that_are_not_of_the_same_rows_are_named(tmp_path):
    run = write_run(tmp_path / "run", SCORES, TRAINED)
    path = case_file(case_folder(run, 0), "a", "a")
    path.write_text(path.read_text().replace("a 3?", "other?"))
    with pytest.raises(
        RunError, match=r"a eval: case 4 is not of the same row: prompt is 'a 3\?' in stage 2 and 'other"
    ):
        measure_transfer(run)
    path.unlink()
    found = measure_transfer(run).seeds[0].summaries["exact_match", "own"]["backward transfer"]
    assert found.value == pytest.approx(-0.25)
    assert math.isnan(found.low)


def test_intervals_of_backward_transfer_cover_the_truth_as_often_as_they_say():
    """Two tasks of 50 rows: one forgets a tenth, the other a third; each row keeps its own difficulty."""
    generator, covered = np.random.default_rng(12), 0
    truth = -(0.1 * 0.8 + 0.3 * 0.6) / 2
    for _ in range(400):
        parts = []
        for right, lost in ((0.8, 0.1), (0.6, 0.3)):
            before = generator.random(50) < right
            after = before & (generator.random(50) >= lost)
            found = compare(mean_rows(after), mean_rows(before))
            parts.append(Estimate(found.difference, found.low, found.high, 50))
        one = average(parts)
        covered += one.low <= truth <= one.high
    assert 0.93 <= covered / 400 <= 0.99


def test_terms_know_their_direction():
    better, worse = cell("a", 1, 0.2, metric="loss", higher=False), cell("a", 0, 0.5, metric="loss", higher=False)
    assert Term(better, worse).value == pytest.approx(0.3)
    assert Term(better).value == 0.2
    assert Matrix("loss", "own", False, {0: {}, 3: {}}).last == 3


def test_a_task_is_called_with_its_split_where_it_has_several():
    columns = [("a", "eval"), ("b", "eval"), ("a", "test"), ("b", "eval")]
    assert name_columns(columns) == {("a", "eval"): "a (eval)", ("a", "test"): "a (test)", ("b", "eval"): "b"}


def test_cells_and_summaries_of_several_seeds_are_their_means(tmp_path):
    other = {stage: {task: hits - 2 for task, hits in row.items()} for stage, row in SCORES.items()}
    for seed, scores in enumerate((SCORES, other)):
        write_run(tmp_path / f"seed-{seed}", scores, TRAINED, seed=seed)
    found = measure_transfer(tmp_path)
    one = found.shown[0]
    assert find_cell(found, one, 1, ("b", "eval")).value == pytest.approx((18 + 16) / 2 / 20)
    assert find_cell(found, one, 7, ("b", "eval")) is None
    rows = list(summary_rows(found))
    assert [row[:3] for row in rows] == [("exact_match", "own", said) for said in ("0", "1", "mean of 2")]
    first, second, mean = (row[3][0] for row in rows)
    assert mean.value == pytest.approx((first.value + second.value) / 2)
    alone = measure_transfer(tmp_path / "seed-0")
    assert find_cell(alone, alone.shown[0], 1, ("b", "eval")).value == 18 / 20
    assert show_interval(None) == ""
