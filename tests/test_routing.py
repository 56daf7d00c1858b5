"""A run's router on a tiny base: fitted in the run, asked, measured."""

import json

import numpy as np
import pytest
from tiny import tiny_model
from tokens import tiny_tokenizer

import tenfold
import tenfold.adapters.combining
import tenfold.config
import tenfold.evaluate
import tenfold.tasks.settings
from tenfold import route, routing, runs
from tenfold.adapters import BASE, compose
from tenfold.errors import ConfigError, RunError
from tenfold.evaluate import read_results
from tenfold.evaluate.cases import read_cases
from tenfold.route import outcome, quality, rows

WORDS = {"upper": "apple pear plum cherry melon grape", "sums": "one two three four five six"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    place = tmp_path_factory.mktemp("routing")
    tiny_model().save_pretrained(place / "base")
    tiny_tokenizer().save_pretrained(place / "base")
    for name, words in WORDS.items():
        pairs = [f"{a} {b}" for a in words.split() for b in words.split() if a != b]
        made = [{"text": pair, "answer": pair.upper()} for pair in pairs]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made[:24]))
        (place / f"{name}-test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made[24:]))
    tasks = {
        name: {
            "path": f"{name}.jsonl", "eval_path": f"{name}-test.jsonl", "prompt": f"{name}: {{text}} ->",
            "response": "{answer}", "max_new_tokens": 3, "metrics": ["exact_match", "loss"],
        }
        for name in WORDS
    }  # fmt: skip
    settings = {"base_model": str(place / "base"), "output_dir": str(place / "run"), "steps": 1, "lora_r": 2,
                "prompt_style": "raw", "device": "cpu", "tasks": tasks}  # fmt: skip
    return settings, place


@pytest.fixture(scope="module")
def finished(config):
    settings, place = config
    return tenfold.train(tenfold.config.Config.parse(settings, place))


def test_a_run_of_two_tasks_has_a_router_that_knows_their_texts(finished):
    run = finished.run
    assert run.folder.router.is_dir()
    found = {(one.metric, one.split): one.value for one in finished.results if one.task == "router"}
    assert found["accuracy", "bare text"] == found["macro_f1", "bare text"] == 1
    assert 0 < found["milliseconds, p50", "bare text"] <= found["milliseconds, p95", "bare text"]
    assert {one.adapter for one in finished.results} == {"upper", "sums", "base", "routed", "top1", "tfidf"}
    kept = {one.key for one in read_results(run.folder.path / "results.json")}
    assert {one.key for one in finished.results} == kept
    [decision] = tenfold.load(run.folder.path).route(["apple pear"])
    assert decision.adapter == "upper"


def test_routed_scores_are_those_of_what_was_chosen(finished):
    """Cases taken over and cases run are what an evaluation under the chosen adapter gives."""
    run = finished.run
    owned = runs.compositions(run.config, run.bank)
    tasks = run.tasks()
    chosen = outcome.routed(run.router, tasks, owned)
    chosen["upper", "eval"][:2] = [owned["sums"], BASE]
    known = outcome.kept(run.folder.cases, tasks, {"base": BASE, **owned}, run.bank)
    [upper, _] = outcome.assemble(run.bank, tasks, known, chosen, "routed")
    alone = {
        composition: tenfold.evaluate.evaluate(run.bank, [tenfold.evaluate.Item(tasks[0], "eval", "x", composition)])
        for composition in dict.fromkeys(chosen["upper", "eval"])
    }
    for row, (case, composition) in enumerate(zip(upper.cases, chosen["upper", "eval"], strict=True)):
        expected = alone[composition][0].cases[row]
        assert (case.answer, case.index) == (expected.answer, expected.index)
        assert case.nats == pytest.approx(expected.nats, rel=1e-4)


def test_bare_text_has_neither_template_nor_answer(finished):
    tasks = finished.run.tasks()
    train, held = rows.training_texts(tasks)
    assert train["upper"][0] == tasks[0].train[0].columns["text"]
    assert not held["upper"]
    assert rows.wrapped("x", tasks[1].settings) == "sums: x ->"


def test_everything_that_can_be_measured(finished, tmp_path):
    run = finished.run
    found = routing.measure(run, run.tasks(), ood=["Quantum chromodynamics"] * 5, full=True)
    by_adapter = {one.adapter for one in found if one.task == "upper"}
    assert by_adapter == {"routed", "top1", "soft", "random", "merged"}
    own = {(one.metric, one.split): one for one in found if one.task == "router"}
    assert own["auroc", "unrelated text"].value == 1
    assert own["rejected", "unrelated text"].n == 5
    assert own["share of the oracle's exact_match", "routed rows"].n == 12
    for one in own.values():
        assert np.isnan(one.low) or one.low <= one.value + 1e-9
        assert np.isnan(one.high) or one.value <= one.high + 1e-9
    assert len(read_cases(run.folder.cases / "upper.soft.jsonl")) == 6


def test_a_run_routes_texts_and_columns_and_leaves_the_strange_to_the_base(finished):
    run = finished.run
    inputs = ["apple plum", {"text": "one two"}, "Quantum chromodynamics"]
    assert [one.adapter for one in run.route(inputs)] == ["upper", "sums", None]
    answers = run.generate(inputs, max_new_tokens=3)
    assert answers[0] == run.generate(["apple plum"], "upper", max_new_tokens=3)[0]
    assert answers[1] == run.generate(["one two"], "sums", max_new_tokens=3)[0]
    assert answers[2] == run.generate(["Quantum chromodynamics"], "base", max_new_tokens=3)[0]


def test_a_soft_mixture_is_one_composition_and_can_be_made_one_adapter(finished):
    run = finished.run
    mixed = dict(run.mixture("apple two", top=2, temperature=50.0))
    assert mixed.keys() == {"upper", "sums"}
    assert sum(mixed.values()) == pytest.approx(1)
    made = run.merge("apple two", "made", tenfold.adapters.combining.Recipe("cat"))
    try:
        assert made == compose("made")
        exact = run.mixture("apple two")
        row = [finished.run.tasks()[0]]
        one, other = (
            tenfold.evaluate.evaluate(run.bank, [tenfold.evaluate.Item(row[0], "eval", "x", composition)])[0].cases
            for composition in (made, exact)
        )
        assert [case.nats for case in one] == pytest.approx([case.nats for case in other], rel=1e-4)
    finally:
        run.bank.remove("made")


def test_lines_become_columns():
    settings = tenfold.tasks.settings.TaskSettings(prompt="{a} and {b}", path="x.csv")
    assert runs.spread("x\ny", settings) == {"a": "x", "b": "y"}
    assert runs.spread("x", settings) == "x"
    assert runs.spread({"a": "1"}, settings) == {"a": "1"}


def test_router_none_and_one_task_have_none(config):
    settings, place = config
    off = {**settings, "router": "none", "output_dir": str(place / "off")}
    run = tenfold.train(tenfold.config.Config.parse(off, place)).run
    assert not run.folder.router.exists()
    with pytest.raises(RunError, match="has no router"):
        run.generate(["apple"])
    with pytest.raises(ConfigError, match="none given"):
        routing.fit(run)
    assert routing.fit(run, ["nearest"]).parts[0].spec == "nearest"
    assert route.load(run.folder.router).tasks == ("upper", "sums")


def test_areas_and_quantiles_by_hand():
    inside, outside = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    found = quality.auroc_estimate(inside, outside)
    assert found.value == pytest.approx((0.5 + 1 + 3) / 6)
    assert found.low <= found.value <= found.high
    assert quality.auroc_estimate(inside, np.array([5.0, 6.0])).high == 1
    median = quality.quantile(list(range(101)), 0.5)
    assert (median.value, median.n) == (50, 101)
    assert median.low < 50 < median.high
