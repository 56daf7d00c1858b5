"""``auto`` with a real router, over HTTP and in the terminal."""

import shutil

import openai
import pytest
from inside import ask, bearer, hosting, key
from process import serving
from world import answers

from tenfold import cli, route
from tenfold.serve.choosing import Choice
from tenfold.serve.keys import Entry, Keys
from tenfold.serve.opening import open_folders
from tenfold.serve.talk import Talk

LETTERS = ["shout abc", "make this loud", "in capitals please", "louder words", "shout it out", "big letters"]
NUMBERS = ["1 plus 2", "12 and 30", "add 4 to 5", "7 more than 9", "sum of 3 and 8", "2 with 2 added"]


@pytest.fixture(scope="module")
def routed(run, tmp_path_factory):
    """The run with a router between upper and talk."""
    folder = tmp_path_factory.mktemp("routed") / "run"
    shutil.copytree(run, folder)
    route.fit({"upper": LETTERS * 3, "talk": NUMBERS * 3}, kinds=["tfidf"]).save(folder / "router")
    return folder


def user(content):
    return [{"role": "user", "content": content}]


def test_the_decision_comes_with_the_answer(routed):
    with serving(routed) as process, openai.OpenAI(base_url=f"{process.address}v1", api_key="none") as client:
        assert "auto" in [model.id for model in client.models.list()]
        raw = client.chat.completions.with_raw_response.create(model="auto", messages=user("shout abc"))
        whole = raw.parse()
        assert (whole.model, raw.headers["x-tenfold-adapter"]) == ("upper", "upper")
        choice = whole.model_extra["tenfold"]["choice"]
        assert choice["adapter"] == "upper"
        assert choice["probabilities"]["upper"] == choice["probability"] > choice["probabilities"]["talk"]
        assert f"{choice['probability']:.4f}" == raw.headers["x-tenfold-probability"]
        assert whole.choices[0].message.content == answers(routed, ["shout abc"], "upper")[0]
        stream = client.chat.completions.create(model="auto", messages=user("12 and 30"), stream=True)
        first = next(iter(stream))
        assert first.model_extra["tenfold"]["choice"]["adapter"] == first.model == "talk"
        far = client.chat.completions.create(model="auto", messages=user("§§ %% ¶¶"), max_tokens=5)
        assert far.model == "base"
        assert "out of scope" in far.model_extra["tenfold"]["choice"]["reason"]
        plain = client.completions.create(model="auto", prompt="add 4 to 5", max_tokens=4)
        assert plain.model == "talk"
        with pytest.raises(openai.BadRequestError, match="one text at a time"):
            client.completions.create(model="auto", prompt=["a", "b"])


def test_a_key_sees_its_own_adapters_only(routed, run):
    keys = Keys([key("word", Entry(name="me", env="x", adapters=["talk", "base", "auto"]))])
    with hosting(routed, keys=keys) as host:
        found = host.client.post("v1/chat/completions", json=ask("shout abc", "auto"), headers=bearer("word")).json()
        assert found["model"] == "base"
        choice = found["tenfold"]["choice"]
        assert list(choice["probabilities"]) == ["talk"]
        assert "upper" not in str(found)


def test_a_choice_among_what_is_allowed():
    made = Choice("a", 0.7, 0.1, None, {"a": 0.7, "b": 0.3})
    assert made.among(["a", "b"]) == made
    assert made.among(["b"]).adapter is None
    assert made.among(["b"]).probability == 0.3
    assert made.among([]).probabilities == {}


def test_chat_in_a_terminal(routed, monkeypatch, capsys):
    said = iter(["shout abc", "/adapter talk", "hi", "/adapter nobody", "/base", "/list", "/what", "/adapter sums", "x",
                 "", "/new", "/auto", "/quit", "never"])  # fmt: skip
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or next(said))
    monkeypatch.setattr("sys.argv", ["tenfold", "chat", str(routed)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    out, err = capsys.readouterr()
    assert not left.value.code
    assert asked == ["auto> "] * 2 + ["talk> "] * 3 + ["base> "] * 3 + ["sums> "] * 4 + ["auto> "]
    assert answers(routed, ["shout abc"], "upper")[0] in out
    assert answers(routed, ["hi"], "talk")[0] in out
    assert "[upper, " in out
    assert "base  sums  talk  upper" in out
    assert [line[:30] for line in err.splitlines() if line.startswith("error")] == [
        "error: no model 'nobody'", "error: 'sums' takes several co",
    ]  # fmt: skip


def test_a_conversation_in_a_terminal_remembers(run):
    talk = Talk(open_folders([run]), "talk", new_tokens=4)
    first = "".join(talk.answer(talk.choose("hi"), "hi"))
    second = "".join(talk.answer(talk.choose("and?"), "and?"))
    assert [message["content"] for message in talk.history] == ["hi", first, "and?", second]
    fresh = Talk(open_folders([run]), "talk", new_tokens=4)
    pieces = fresh.answer(fresh.choose("hi"), "hi")
    next(pieces)
    pieces.close()  # Ctrl-C
    assert fresh.history == []
    assert "".join(fresh.answer(fresh.choose("hi"), "hi")) == first
