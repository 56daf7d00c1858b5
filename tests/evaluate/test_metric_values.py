import json
import math

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import f1_score

from tenfold.errors import ConfigError
from tenfold.evaluate.cases import Case
from tenfold.evaluate.metrics import Need, find_metric, metric_names
from tenfold.evaluate.metrics._extraction import first_integer, first_json, first_word, parse_json
from tenfold.evaluate.metrics.json_f1 import field_f1
from tenfold.statistics import estimate


def case(answer=None, expected="", **rest):
    return Case(split="eval", index=0, prompt="", expected=expected, answer=answer, **rest)


def value(name, cases):
    measure = find_metric(name)
    return estimate(measure.rows(cases), measure.statistic, bounds=measure.bounds).value


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_keeps_the_contract(name):
    measure = find_metric(name)
    cases = [
        case("1", "1", nats=2.0, tokens=3, options={"0": -3.0, "1": -1.0}),
        case("zwei", "0", nats=1.0, tokens=1, options={"0": -3.0, "1": -1.0}),
    ]
    rows = measure.rows(cases)
    assert len(rows) == 2
    found = estimate(rows, measure.statistic, bounds=measure.bounds)
    low, high = measure.bounds or (0.0, math.inf)
    assert low <= found.value <= high
    for one in cases:
        score = measure.score(one)
        assert score is None or low <= score <= high
        assert not measure.binary or score in (0.0, 1.0)
        json.dumps(measure.extract(one))
    assert measure.need in Need
    assert measure.name == name


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown metric 'acuracy'; known: accuracy, .*did you mean 'accuracy'"):
        find_metric("acuracy")
    with pytest.raises(ConfigError, match="'accuracy:first_int': 'first_int' is unknown; accuracy takes one of exact"):
        find_metric("accuracy:first_int")
    with pytest.raises(ConfigError, match="bleu takes nothing behind a colon"):
        find_metric("bleu:4")


@pytest.mark.parametrize(
    ("text", "integer"),
    [
        ("the label is 2", 2),
        ("-1", -1),
        ("2.", 2),
        ("", -1),
        ("10", 10),
        ("none", -1),
        ("label-2", 2),
        ("3-1", 3),
        ("x7", 7),
        ("( -5)", -5),
        ("1.5", 1),
        ("\n0\n2", 0),
        ("٣", 3),
        ("9" * 6000, int("9" * 4000)),
    ],
)
def test_the_first_integer(text, integer):
    assert first_integer(text) == integer


def test_the_first_word():
    assert first_word("  **Positive**, I think") == "positive"
    assert first_word("it's Über") == "it's"
    assert first_word("...") is None


def test_the_first_json():
    assert first_json('Here: ```json\n{"a": [1, {"b": null}]}\n``` done') == {"a": [1, {"b": None}]}
    assert first_json('broken { then {"a": 1}') == {"a": 1}
    assert first_json("12") == 12
    assert first_json("nothing") is None
    assert first_json("[" * 100_000) is None
    assert parse_json('{"a": NaN}') is None


def test_accuracy_looks_for_what_kind_of_answer_is_expected():
    assert value("accuracy", [case("the label is 2", "2"), case("no idea", "1")]) == 0.5
    assert value("accuracy", [case("Positive.", "positive"), case("negative", "positive")]) == 0.5
    assert value("accuracy", [case('{"b": 2, "a": 1}', '{"a":1,"b":2}')]) == 1.0
    assert value("accuracy", [case(" two words ", "two words"), case("two words!", "two words")]) == 0.5


def test_accuracy_with_a_given_extraction():
    assert value("accuracy:exact", [case("the label is 2", "2"), case("2\n", "2")]) == 0.5
    assert value("accuracy:first_word", [case("Yes, 3", "yes")]) == 1.0
    assert value("accuracy:json", [case("no json", "no json either")]) == 0.0


def test_without_an_integer_flora_reads_minus_one():
    measure = find_metric("accuracy:first_integer")
    assert measure.extract(case("neutral", "1")) == -1
    assert measure.score(case("neutral", "1")) == 0.0


def test_exact_match_trims_and_nothing_else():
    assert value("exact_match", [case(" 2024-05-01\n", "2024-05-01"), case("2024-5-1", "2024-05-01")]) == 0.5


def test_option_likelihood_takes_the_most_likely():
    cases = [
        case(expected="a", options={"a": -1.0, "b": -2.0}),
        case(expected="a", options={"a": -9.0, "b": -2.0}),
        case(expected="b", options={"a": -2.0, "b": -2.0}),
    ]
    assert value("option_likelihood", cases) == pytest.approx(1 / 3)
    assert find_metric("option_likelihood").extract(cases[1]) == "b"


@given(st.lists(st.tuples(st.sampled_from("012x"), st.sampled_from("012")), min_size=1, max_size=60))
def test_macro_f1_is_scikit_learns(pairs):
    found, expected = zip(*pairs, strict=True)
    ours = value("macro_f1:exact", [case(f, e) for f, e in pairs])
    theirs = f1_score(expected, found, labels=sorted(set(expected)), average="macro", zero_division=0)
    assert ours == pytest.approx(theirs)


def test_macro_f1_of_options():
    cases = [case(expected=e, options={"a": -1.0, "b": -1.0 - s}) for e, s in [("a", 1), ("b", -1), ("b", 1)]]
    assert value("macro_f1:options", cases) == pytest.approx(
        f1_score(["a", "b", "b"], ["a", "b", "a"], average="macro")
    )


def test_json_validity_is_of_the_whole_answer():
    answers = ['{"a": 1}', " [1] \n", "null", "Here: {}", '{"a": NaN}', "{'a': 1}", "", '{"a": 1']
    assert [find_metric("json_valid").score(case(a)) for a in answers] == [1, 1, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 1.0),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 0.5),
        ({"a": 1}, {"a": 1, "b": 2}, 2 / 3),
        ({"a": "1"}, {"a": 1}, 0.0),
        ({"a": True}, {"a": 1}, 0.0),
        ({"a": 1.0}, {"a": 1}, 1.0),
        ({"p": ["x", "y"]}, {"p": ["y", "x"]}, 1.0),
        ({"p": ["x", "x"]}, {"p": ["x"]}, 2 / 3),
        ({"p": {"q": 1}}, {"p.q": 1}, 0.0),
        ({}, {}, 1.0),
        ({"a": []}, {"a": {}}, 0.0),
        (None, {}, 0.0),
    ],
)
def test_field_f1_by_hand(one, other, f1):
    assert field_f1(one, other) == pytest.approx(f1)


VALUES = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.text(max_size=2) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_field_f1_is_symmetric_and_bounded(one, other):
    assert field_f1(one, other) == field_f1(other, one)
    assert 0.0 <= field_f1(one, other) <= 1.0
    assert field_f1(one, one) == 1.0


ANSWERS = ["The cat sat on the mat.", "", "a small house stands there", "Ein grüner Baum."]
EXPECTED = [
    "The cat sat on a mat.",
    "Something here",
    "the small house stood there",
    "Ein grüner Baum steht.",
]


@pytest.mark.parametrize(("name", "corpus"), [("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)])
def test_corpus_metrics_are_sacrebleus(name, corpus):
    cases = [case(a, e) for a, e in zip(ANSWERS, EXPECTED, strict=True)]
    assert value(name, cases) == pytest.approx(corpus(ANSWERS, [EXPECTED]).score, abs=1e-9)
    doubled = cases + cases[1:3]  # what one resample may look like
    texts = [c.answer for c in doubled], [[c.expected for c in doubled]]
    assert value(name, doubled) == pytest.approx(corpus(*texts).score, abs=1e-9)


def test_rouge_l_is_rouge_scores_in_english():
    scorer = RougeScorer(["rougeL"])
    for answer, expected in list(zip(ANSWERS, EXPECTED, strict=True))[:3]:
        true = scorer.score(expected, answer)["rougeL"].fmeasure
        assert find_metric("rouge_l").score(case(answer, expected)) == pytest.approx(true)


def test_rouge_l_keeps_words_of_other_scripts():
    assert find_metric("rouge_l").score(case("зелёное дерево", "дерево")) == pytest.approx(2 / 3)


def test_loss_weighs_tokens_and_perplexity_is_its_exponential():
    cases = [case(nats=4.0, tokens=2), case(nats=0.0, tokens=6)]
    assert value("loss", cases) == 0.5
    assert value("perplexity", cases) == pytest.approx(math.exp(0.5))
    assert find_metric("loss").score(cases[0]) == 2.0
    assert not find_metric("loss").higher_is_better
