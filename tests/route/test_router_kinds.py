"""Every kind of router in the folder goes through the same tests."""

import numpy as np
import pytest

import tenfold.route
from tenfold.base.encoders import Encoder
from tenfold.errors import ConfigError
from tenfold.route import kinds

SPECS = [*kinds.names(), "nearest:embedding"]


@pytest.fixture(scope="session")
def fitted(topics, tiny_encoder, tiny_bank):
    known = {}

    def fitted(name):
        if name not in known:
            encoder = {"embedding": f":{tiny_encoder}", "bert": f":{tiny_encoder}"}.get(name.rpartition(":")[2], "")
            known[name] = tenfold.route.fit(topics[0], kinds=[name + encoder], bank=tiny_bank)
        return known[name]

    return fitted


@pytest.mark.parametrize("name", SPECS)
def test_a_kind_scores_saves_and_loads(name, fitted, topics, tiny_bank, tmp_path):
    router = fitted(name)
    texts = [text for own in topics[1].values() for text in own]
    labels = np.repeat(np.arange(3), 20)
    found = router.scores(texts)
    assert found.probabilities.shape == (60, 3)
    assert np.allclose(found.probabilities.sum(axis=1), 1)
    assert (found.probabilities.argmax(axis=1) == labels).mean() > 0.4  # of three, on tiny random encoders
    assert np.isfinite(found.out_of_scope).all()
    router.save(tmp_path)
    again = tenfold.route.load(tmp_path, bank=tiny_bank)
    assert np.allclose(again.scores(texts).probabilities, found.probabilities, atol=1e-6)
    assert np.allclose(router.scores(texts[:1]).probabilities, found.probabilities[:1], atol=1e-4)


def test_a_decision_embeds_a_text_once(fitted, monkeypatch):
    router, asked = fitted("nearest:embedding"), []
    assert router.abstention.score == "distance"
    embed = Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda self, texts: (asked.extend(texts), embed(self, texts))[1])
    router.decide(["some text", "some text", "another"])
    assert sorted(asked) == ["another", "some text"]


@pytest.mark.parametrize("name", SPECS)
def test_a_kind_takes_any_text(name, fitted):
    for text in ("", "\ud800", "日本語", "word " * 100_000):
        [found] = fitted(name).decide([text])
        assert 0 <= found.probability <= 1


@pytest.mark.parametrize("name", SPECS)
def test_a_kind_takes_a_task_more_or_says_that_it_can_not(name, fitted):
    router = fitted(name)
    if not name.startswith("nearest"):
        with pytest.raises(ConfigError, match="without fitting again"):
            router.add("birds", ["sparrow"])
        return
    birds = ["the sparrow sings", "a heron and a sparrow", "heron feathers", "feathers of the robin"]
    grown = router.add("birds", birds)
    assert grown.tasks == (*router.tasks, "birds")
    assert grown.decide(["sparrow feathers"], abstain=False)[0].adapter == "birds"
    before, after = router.logits(["bake the onion"]), grown.logits(["bake the onion"])
    assert np.allclose(before, after[:, :3], atol=1e-5)
