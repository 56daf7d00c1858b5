import json
import math
import subprocess
import sys

import numpy as np
import pytest

import tenfold.route
from tenfold.errors import ConfigError, DataError, RunError
from tenfold.route import Conversation
from tenfold.route.calibration import calibrate, ece, softmax
from tenfold.route.features import tfidf
from tenfold.route.texts import clean


@pytest.fixture(scope="module")
def router(topics):
    return tenfold.route.fit(topics[0])


def test_each_text_finds_its_task(router, topics):
    for name, texts in topics[1].items():
        decisions = router.decide(texts, abstain=False)
        assert all(one.adapter == name and one.probability > 0.5 for one in decisions)
        assert all(math.isfinite(one.out_of_scope) and one.reason for one in decisions)


def test_what_is_strange_is_left_to_the_base(router, topics):
    [strange] = router.decide(["Quantum chromodynamics describes gluons"])
    assert strange.adapter is None
    assert "out of scope" in strange.reason
    inside = router.scores(topics[1]["sums"]).out_of_scope
    assert strange.out_of_scope > inside.max()
    [forced] = router.decide(["Quantum chromodynamics describes gluons"], abstain=False)
    assert forced.adapter in router.tasks
    covered = [one.adapter is not None for texts in topics[1].values() for one in router.decide(texts)]
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize(
    "text", ["", "  \n\t", "\ud800", "𝔘𝔫𝔦 ﬁne Größe 日本語のテキスト", "a" * 1_000_000, "\x00", "?!"]
)
def test_any_text_has_a_decision(router, text):
    for abstain in (True, False):
        [found] = router.decide([text], abstain=abstain)
        assert 0 <= found.probability <= 1
        assert found.adapter in (*router.tasks, *((None,) if abstain else ()))
    if not text.strip():
        assert router.decide([text])[0].adapter is None
        assert router.decide([text])[0].out_of_scope == math.inf
        assert "empty" in router.decide([text])[0].reason


def test_no_texts_no_decisions(router):
    assert router.decide([]) == []


def test_of_a_long_text_head_and_tail_are_looked_at(router):
    middle = "x" * 1_000_000
    assert clean(f"begin {middle} end") == clean(f"begin {middle}{middle} end")
    assert router.decide([f"bake the onion {middle} fry butter"], abstain=False)[0].adapter == "cooking"


def test_a_saved_router_decides_the_same(router, topics, tmp_path):
    router.save(tmp_path / "router")
    found = tenfold.route.load(tmp_path / "router")
    texts = [text for own in topics[1].values() for text in own]
    assert found.decide(texts) == router.decide(texts)
    assert {path.suffix for path in (tmp_path / "router").iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("spoil", ["version", "kinds", "tasks", "torn", "tensors"])
def test_a_spoilt_router_is_one_line(router, tmp_path, spoil):
    router.save(tmp_path)
    path = tmp_path / "router.json"
    said = json.loads(path.read_text())
    if spoil == "torn":
        path.write_text(path.read_text()[:50])
    elif spoil == "tensors":
        (tmp_path / "0.safetensors").write_bytes(b"nothing")
    else:
        said[spoil] = 7
        path.write_text(json.dumps(said))
    with pytest.raises(RunError, match=r"router\.json|no router"):
        tenfold.route.load(tmp_path)


def test_a_folder_without_a_router(tmp_path):
    with pytest.raises(RunError, match="no router at"):
        tenfold.route.load(tmp_path)


def test_one_task_alone(topics):
    router = tenfold.route.fit({"sums": topics[0]["sums"]})
    [found] = router.decide(["plus minus total please"])
    assert (found.adapter, found.probability) == ("sums", 1.0)
    assert router.decide(["Quantum chromodynamics describes gluons"])[0].adapter is None


def test_two_tasks_with_the_same_texts_are_a_toss_up_and_said_so(topics):
    router = tenfold.route.fit({"one": topics[0]["sums"], "other": topics[0]["sums"]})
    assert any("one and other" in note and "can't tell" in note for note in router.notes)
    [found] = router.decide([topics[0]["sums"][0]])
    assert found.probability == pytest.approx(0.5, abs=0.1)


def test_validation_of_an_unknown_task_counts_as_out_of_scope(topics):
    train, asked = topics
    known = {name: train[name] for name in ("weather", "sums")}
    router = tenfold.route.fit(known, asked)
    assert router.abstention.auroc["energy"] > 0.8
    assert len(router.decide(asked["cooking"])) == 20


def test_tiny_tasks_and_no_validation(topics):
    router = tenfold.route.fit({"a": ["one text"], "b": ["another thing"]})
    assert router.calibration.n == 0
    assert math.isnan(router.calibration.ece_before)
    assert {one.adapter for one in router.decide(["one text", "another thing"])} == {"a", "b"}


@pytest.mark.parametrize(
    ("train", "settings", "error", "says"),
    [
        ({}, {}, DataError, "no tasks"),
        ({"a": ["x"], "b": ["", " "]}, {}, DataError, "'b' has no text"),
        ({"a": ["x"]}, {"kinds": []}, ConfigError, "must be a list"),
        ({"a": ["x"]}, {"kinds": "tfidf"}, ConfigError, "must be a list"),
        ({"a": ["x"]}, {"kinds": ["tfidff"]}, ConfigError, "did you mean 'tfidf'"),
        ({"a": ["x"]}, {"kinds": ["tfidf", "tfidf"]}, ConfigError, "twice"),
        ({"a": ["x"]}, {"kinds": ["tfidf:x"]}, ConfigError, "nothing behind a colon"),
        ({"a": ["x"]}, {"coverage": 0.0}, ConfigError, "router_coverage"),
    ],
)
def test_mistakes_are_one_line(train, settings, error, says):
    with pytest.raises(error, match=says):
        tenfold.route.fit(train, **settings)


def test_fitting_again_gives_the_same_numbers(router, topics):
    again = tenfold.route.fit(topics[0])
    texts = topics[1]["sums"]
    assert np.array_equal(again.scores(texts).probabilities, router.scores(texts).probabilities)


def test_a_mixture_sums_to_one_and_evens_out_with_temperature(router):
    sharp = router.mixture("bake the onion plus salt", top=2)
    even = router.mixture("bake the onion plus salt", top=2, temperature=1000.0)
    assert sum(sharp.values()) == pytest.approx(1)
    assert list(sharp) == list(even)
    assert max(sharp.values()) > max(even.values())
    assert max(even.values()) == pytest.approx(0.5, abs=0.05)
    assert len(router.mixture("salt", top=9)) == 3


def test_sums_of_kinds_are_sums_of_calibrated_logits(topics):
    router = tenfold.route.fit(topics[0], kinds=["tfidf", "nearest"])
    texts = topics[1]["cooking"]
    by_hand = sum(part.scorer.logits(texts) / part.temperature for part in router.parts)
    expected = softmax(by_hand / router.calibration.temperature)
    assert np.allclose(router.scores(texts).probabilities, expected)


def test_a_conversation_looks_at_the_last_user_turn_and_stays_where_asked(router):
    talk = [
        {"role": "user", "content": "bake flour in the oven with butter"},
        {"role": "assistant", "content": "plus minus total sum"},
        {"role": "user", "content": "and then?"},
    ]
    free, sticky = Conversation(router), Conversation(router, sticky=True)
    assert free.decide(talk[:1]).adapter == sticky.decide(talk[:1]).adapter == "cooking"
    assert free.decide(talk).adapter is None
    kept = sticky.decide(talk)
    assert kept.adapter == "cooking"
    assert "stays" in kept.reason
    assert Conversation(router, turns=2).decide(talk).out_of_scope < free.decide(talk).out_of_scope
    moved = [*talk, {"role": "user", "content": "umbrella rain forecast storm snow cloud degrees"}]
    assert sticky.decide(moved).adapter == "weather"
    assert free.decide([{"role": "assistant", "content": "rain"}]).adapter is None


def test_temperature_is_the_best_of_a_grid():
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=400)
    logits = 6 * generator.normal(size=(400, 4))
    logits[np.arange(400), labels] += 4
    found = calibrate(logits, labels)
    assert found.nll_after < found.nll_before
    sure = calibrate(np.array([[1.0, 0.0]] * 8), np.zeros(8, dtype=np.int64))
    assert softmax(np.array([[1.0, 0.0]]) / sure.temperature)[0, 0] == pytest.approx(9 / 10, abs=1e-3)
    assert found.ece_after < found.ece_before
    grid = [-np.log(softmax(logits / t)[np.arange(400), labels]).mean() for t in np.geomspace(0.1, 10, 200)]
    assert found.nll_after <= min(grid) + 5e-3


def test_the_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 1])
    assert ece(probabilities, labels) == pytest.approx((2 * 0.4 + 2 * 0.3) / 4)


def test_ngrams_of_characters_are_those_of_a_plain_loop():
    def plain(text):
        spaced = f" {' '.join(text.split())} "
        pieces = [spaced[i : i + n] for n in range(2, 6) for i in range(len(spaced) - n + 1)]
        return [piece for piece in pieces if " " not in piece[1:-1]]

    text = "the cat, the  mat and größe 日本"
    hashes = tfidf.characters(text)
    assert len(hashes) == len(plain(text))
    assert len(np.unique(hashes)) == len(set(plain(text)))


def test_routing_needs_no_torch_and_no_scikit_learn(router, tmp_path):
    router.save(tmp_path)
    code = (
        "import sys, tenfold.route\n"
        f"router = tenfold.route.load({str(tmp_path)!r})\n"
        "heavy = [m for m in ('torch', 'sklearn', 'transformers') if m in sys.modules]\n"
        "print(router.decide(['bake onion butter please tell me'])[0].adapter, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cooking []"


def test_very_many_tasks_are_told_apart_by_their_mean_directions():
    texts = {f"task{number}": [f"w{number} common w{number}x", f"w{number} other"] for number in range(230)}
    router = tenfold.route.fit(texts)
    chosen = [one.adapter for one in router.decide([f"the w{number} please" for number in range(230)], abstain=False)]
    assert np.mean([one == name for one, name in zip(chosen, texts, strict=True)]) > 0.95
