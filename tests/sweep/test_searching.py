"""What a search tries, when it ends early, and what its file may say."""

import numpy as np
import pytest

from tenfold import sweep
from tenfold.errors import ConfigError, MissingExtraError
from tenfold.sweep.points import draw, planned, values
from tenfold.sweep.settings import RangeSettings

RATES = {"low": 1e-4, "high": 1e-1, "log": True}


def test_a_grid_is_every_combination_with_every_seed(project):
    given = project(search={"lora_r": [2, 4], "lora_dropout": {"low": 0, "high": 0.2, "step": 0.1}}, seeds=[1, 2])
    points = planned(given.settings, given.seeds)
    assert len(points) == len({point.key for point in points}) == 2 * 3 * 2
    assert {point.settings["lora_dropout"] for point in points} == {0, 0.1, 0.2}
    some = project(search={"lora_r": [1, 2, 3, 4, 5]}, trials=3)
    chosen = [point.settings["lora_r"] for point in planned(some.settings, some.seeds)]
    assert len(set(chosen)) == 3
    assert chosen == sorted(chosen)


def test_values_of_a_range():
    assert values(RangeSettings(low=8, high=32, step=8)) == [8, 16, 24, 32]
    assert values(RangeSettings(low=0.1, high=0.35, step=0.1)) == [0.1, 0.2, 0.3]
    generator = np.random.default_rng(0)
    rates = [draw(RangeSettings(**RATES), generator) for _ in range(300)]
    assert 1e-4 <= min(rates) < 3e-4 < 3e-2 < max(rates) <= 1e-1
    assert 0.2 < np.mean([rate < 1e-3 for rate in rates]) < 0.5  # a third of the decades
    ranks = {draw(RangeSettings(low=1, high=4), generator) for _ in range(100)}
    assert ranks == {1, 2, 3, 4}


def test_random_points_follow_from_the_seed(project):
    search = {"learning_rate": RATES, "lora_r": [2, 4, 8]}
    found = [planned(project(search=search, method="random", trials=5, seed=s).settings, [0]) for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert len(found[0]) == 5


def test_proposed_points_go_on_where_they_were_and_lists_can_be_chosen(project):
    search = {"learning_rate": RATES, "fff_intermediate_size": [[4, 8], [8, 4, 2], 6]}
    given = project(search=search, method="tpe", trials=3, seeds=[1, 2], top={"adapter": "fff", "lora_r": None})
    first = sweep.run(given).found["trials"]
    more = project(search=search, method="tpe", trials=5, seeds=[1, 2], top={"adapter": "fff", "lora_r": None})
    found = sweep.run(more).found["trials"]
    assert [one["settings"] for one in found[:6]] == [one["settings"] for one in first]
    settings = [str(one["settings"]) for one in found]
    assert len(settings) == 10
    assert len(set(settings)) == 5
    assert all(settings.count(one) == 2 for one in settings)
    best = next(one for one in found if one["number"] == sweep.run(more).found["best"])
    assert min(one["values"]["upper"] for one in found) <= best["values"]["upper"]


def test_a_space_that_is_exhausted_ends_the_search(project):
    found = sweep.run(project(search={"lora_r": [2, 4]}, method="tpe", trials=9)).found
    assert {one["settings"]["lora_r"] for one in found["trials"]} == {2, 4}
    assert len(found["trials"]) == 2


@pytest.mark.parametrize(
    ("pruner", "beside"), [("median", 1), pytest.param("halving", 1, marks=pytest.mark.slow), ("halving", 3)]
)
def test_trials_that_are_behind_end_early_and_the_others_are_what_they_are(project, pruner, beside):
    rates = [0.05, 0.02, 0.01, 0.03, 0.015, 1e-6, 2e-6, 3e-6, 4e-6]
    own = {"search": {"learning_rate": rates}, "top": {"eval_steps": 1}, "side_by_side": beside}
    found = sweep.run(project(**own, pruner=pruner)).found["trials"]
    whole = sweep.run(project("whole", **own)).found["trials"]
    pruned = [one for one in found if one["state"] == "pruned"]
    assert pruned
    for one, other in zip(found, whole, strict=True):
        cut = one["curves"]["upper"]["validation"]
        assert [y for _, y in cut] == pytest.approx(
            [y for _, y in other["curves"]["upper"]["validation"][: len(cut)]], rel=1e-4
        )
        assert (len(cut) < 6) == (one["state"] == "pruned")
    assert all("behind others" in one["reason"] for one in pruned)
    if pruner == "median":
        assert {one["settings"]["learning_rate"] for one in pruned} <= set(rates[5:])


def test_the_metric_may_be_one_tasks(project):
    search = {"learning_rate": [0.001, 0.03]}
    found = sweep.run(project(search=search, metric="validation_loss/sums", sums={})).found
    best = min(found["trials"], key=lambda one: one["values"]["sums"])
    assert found["best"] == best["number"]


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"search": {"lora_r": [2]}, "serach": 1}, r"sweep.yaml:\d+: serach: unknown key; did you mean 'search'\?"),
        ({}, r"search and compare are two things to do; give one of them"),
        ({"search": {"learning_rate": RATES}}, r"search.learning_rate is a range without step; a grid needs one"),
        ({"search": {"lora_r": {"low": 4, "high": 2}}}, r"low 4 is above high 2"),
        ({"search": {"lora_r": {"low": 4, "hihg": 2}}}, r"search\.lora_r.*(high|hihg)"),
        ({"search": {"lora_r": [2]}, "metric": "bleu"}, r"metric: 'bleu' given; must be validation_loss, valid"),
        ({"search": {"seed": [1, 2]}}, r"search.seed: is not searched; a sweep's seeds stand beside config"),
        ({"search": {"lora_rr": [2]}}, r"sweep.yaml:\d+: lora_rr: unknown key; did you mean 'lora_r'"),
        ({"search": {"tasks.upper.lora_r": [0]}}, r"sweep.yaml:\d+: tasks.upper.lora_r: .*0 given; must be"),
        ({"search": {"tasks.lower.lora_r": [2]}}, r"no task 'lower'; tasks: upper"),
        ({"search": {"lora_r": [2]}, "seeds": [1, 1]}, r"seeds: \[1, 1\] given, but each seed can be tried only once"),
        ({"search": {"lora_r": [2]}, "budget": 5}, r"budget is for compare, which is not given"),
        ({"search": {"lora_r": [2]}, "top": {"seeds": [1]}}, r"config.seeds: a sweep has seeds of its own"),
        ({"search": {"lora_r": list(range(1, 150)), "lora_alpha": list(range(1, 150))}}, r"a grid of 22,201 points"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_before_anything_is_written(project, tmp_path, own, told):
    with pytest.raises(ConfigError, match=told) as error:
        sweep.run(project(**own))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "sweep").exists()


def test_without_optuna_it_says_what_to_install(project, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"tenfold sweep needs optuna: pip install 'tenfold\[sweep\]'"):
        sweep.run(project(search={"lora_r": [2]}))
