"""Each limit with its status; who may ask; and that the log tells no words."""

import json
import logging
import threading
import time

import pytest
from inside import ADMIN, ask, bearer, hosting, key, metric, slowed, unpinned, wait_for
from world import lines

from tenfold.errors import ConfigError
from tenfold.serve.http.run import Lines
from tenfold.serve.keys import Allowance, Entry, Keys, digest_of, read_secret
from tenfold.serve.limits import Limits

CHAT = "v1/chat/completions"


def refused(response):
    return response.status_code, response.json()["error"]["code"]


def test_bodies_are_limited(run):
    with hosting(run, limits=Limits(body_bytes=2000)) as host:
        assert refused(host.client.post(CHAT, json=ask("x" * 3000))) == (413, "body_too_large")

        def pieces():
            yield json.dumps(ask("x" * 3000)).encode()

        headers = {"content-type": "application/json"}
        assert refused(host.client.post(CHAT, content=pieces(), headers=headers)) == (413, "body_too_large")
        plain = host.client.post(CHAT, content=json.dumps(ask()), headers={"content-type": "text/plain"})
        assert refused(plain) == (415, "unsupported_media_type")
        assert host.client.post(CHAT, content=b"{", headers=headers).status_code == 400
        assert host.client.post(CHAT, content=b"[1]", headers=headers).json()["error"]["code"] == "invalid_body"
        assert host.client.post(CHAT, json=ask()).status_code == 200


def test_prompts_tokens_and_answers_are_limited(run):
    with hosting(run, limits=Limits(prompt_tokens=20, new_tokens=10, answers=3)) as host:
        assert refused(host.client.post(CHAT, json=ask("x" * 20))) == (400, "context_length_exceeded")
        assert refused(host.client.post(CHAT, json=ask(max_tokens=11))) == (400, "max_tokens_too_large")
        assert host.client.post(CHAT, json=ask(n=4)).status_code == 400
        many = {"model": "base", "prompt": ["a", "b"], "n": 2}
        assert host.client.post("v1/completions", json=many).status_code == 400
        bad = host.client.post("v1/completions", json={"model": "base", "prompt": [5, 97]})
        assert bad.status_code == 400


def test_the_queue_is_limited(run):
    with hosting(run, limits=Limits(waiting=2), max_rows=1) as host:
        slowed(host.service, 0.05)
        statuses = []

        def post():
            response = host.client.post(CHAT, json=ask("hello", "base", max_tokens=8))
            statuses.append((response.status_code, response.headers.get("retry-after")))

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert set(statuses) == {(200, None), (503, "1")}
        assert metric(host.client, "tenfold_requests_total", status="503") >= 1
        three = host.client.post(CHAT, json=ask(n=4))
        assert three.status_code == 503
        assert host.client.post(CHAT, json=ask()).status_code == 200
        wait_for(lambda: unpinned(host))


def keys(**more):
    shop = Entry(name="shop", env="x", adapters=["upper"], **more)
    return Keys([key("shop-secret", shop), key("other-secret", Entry(name="other", env="x"))])


def test_keys_say_who_may_ask_for_what(run):
    with hosting(run, keys=keys()) as host:
        for headers in ({}, bearer("wrong"), {"authorization": "Basic shop-secret"}):
            assert refused(host.client.post(CHAT, json=ask(), headers=headers)) == (401, "invalid_api_key")
            assert host.client.get("v1/models", headers=headers).status_code == 401
        assert host.client.post(CHAT, json=ask(), headers=bearer("shop-secret")).status_code == 200
        for other in ("talk", "base", "upper:0.5+talk:0.5", "nothing"):
            found = host.client.post(CHAT, json=ask(model=other), headers=bearer("shop-secret"))
            assert refused(found) == (404, "model_not_found")
        names = [one["id"] for one in host.client.get("v1/models", headers=bearer("shop-secret")).json()["data"]]
        assert names == ["upper"]
        assert host.client.get("v1/models/talk", headers=bearer("shop-secret")).status_code == 404
        assert host.client.post(CHAT, json=ask(model="talk"), headers=bearer("other-secret")).status_code == 200
        assert host.client.get("").status_code == host.client.get("health").status_code == 200
        assert host.client.get("metrics").status_code == 403


def test_keys_have_limits_of_their_own(run):
    with hosting(run, keys=keys(requests_per_minute=2)) as host:
        statuses = [host.client.post(CHAT, json=ask(), headers=bearer("shop-secret")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        last = host.client.post(CHAT, json=ask(), headers=bearer("shop-secret"))
        assert refused(last) == (429, "rate_limit_exceeded")
        assert 1 <= int(last.headers["retry-after"]) <= 30
        assert host.client.post(CHAT, json=ask(), headers=bearer("other-secret")).status_code == 200
    with hosting(run, keys=keys(tokens_per_minute=5)) as host:
        statuses = [host.client.post(CHAT, json=ask(), headers=bearer("shop-secret")).status_code for _ in range(2)]
        assert statuses == [200, 429]
    with hosting(run, keys=keys(parallel=1)) as host:
        slowed(host.service, 0.05)
        with host.client.stream("POST", CHAT, json=ask(stream=True), headers=bearer("shop-secret")):
            assert host.client.post(CHAT, json=ask(), headers=bearer("shop-secret")).status_code == 429
        for wrong in (ask(n=17), ask(model="none")):  # what is refused gives its place back
            assert host.client.post(CHAT, json=wrong, headers=bearer("shop-secret")).status_code in (400, 404)


def test_an_allowance_fills_up_again():
    now = 0.0
    allowed = Allowance(60, lambda: now)
    allowed.spend(60)
    assert allowed.wait() == 1
    now = 0.75
    assert allowed.wait() == 0.25
    now = 1000.0
    assert allowed.wait() == 0
    allowed.spend(90)
    assert allowed.wait() == 31
    assert Allowance(None, lambda: now).wait() == 0


DIGEST = digest_of("k").hex()
BROKEN = [
    ("[]", "JSON object"),
    ('{"keys": []}', "one key or more"),
    ('{"keys": [{"name": "a"}]}', "sha256 or env"),
    ('{"keys": [{"name": "a", "sha256": "sk-secret"}]}', "sha256"),
    ('{"keys": [{"name": "a", "key": "sk-secret"}]}', "key"),
    ('{"keys": [{"name": "a", "env": "ABSENT"}]}', "ABSENT"),
    (f'{{"keys": [{{"name": "a", "sha256": "{DIGEST}"}}, {{"name": "b", "sha256": "{DIGEST}"}}]}}', "same"),
    (f'{{"keys": [{{"name": "a", "sha256": "{DIGEST}", "parallel": 0}}]}}', "parallel"),
]


@pytest.mark.parametrize(("content", "said"), BROKEN)
def test_a_broken_file_of_keys_is_one_line(tmp_path, content, said):
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(ConfigError, match=said) as raised:
        Keys.load(tmp_path / "keys.json", {})
    assert "sk-secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_keys_from_a_file(tmp_path):
    (tmp_path / "keys.json").write_text(
        json.dumps({"keys": [{"name": "a", "sha256": DIGEST}, {"name": "b", "env": "B"}]})
    )
    found = Keys.load(tmp_path / "keys.json", {"B": "other"})
    assert [found.find(secret) and found.find(secret).name for secret in ("k", "other", "", "K")] == [
        "a", "b", None, None,
    ]  # fmt: skip
    (tmp_path / "admin").write_text("word\n")
    assert read_secret(None, tmp_path / "admin", {}) == digest_of("word")
    assert read_secret("A", None, {"A": "word"}) == digest_of("word")
    for wrong in (("A", None), (None, tmp_path / "none")):
        with pytest.raises(ConfigError):
            read_secret(*wrong, {})


def test_the_log_has_no_words_and_no_keys(run, caplog):
    log = logging.getLogger("tenfold.access")
    log.addHandler(caplog.handler)
    log.propagate = False
    with caplog.at_level(logging.INFO, "tenfold.access"), hosting(run, keys=keys(), admin=ADMIN) as host:
        headers = bearer("shop-secret")
        host.client.post(CHAT, json=ask("prompt words"), headers=headers)
        host.client.post(CHAT, json=ask("prompt words", stream=True), headers=headers)
        host.client.post(CHAT, json=ask("prompt words", nonsense="prompt words"), headers=headers)
        host.client.post(CHAT, json=ask("prompt words"), headers=bearer("wrong-secret"))
        host.client.get("v1/models?q=prompt+words", headers=headers)
        host.service.encode = None  # an error that nobody foresaw
        broken = host.client.post(CHAT, json=ask("prompt words"), headers=headers)
    log.removeHandler(caplog.handler)
    log.propagate = True
    assert broken.status_code == 500
    assert broken.json()["error"]["type"] == "server_error"
    assert "prompt words" not in caplog.text
    assert "secret" not in caplog.text
    assert ADMIN not in caplog.text
    told = lines("\n".join(record.getMessage() for record in caplog.records))
    assert [one["status"] for one in told] == [200, 200, 400, 401, 200, 500]
    assert told[0].items() >= {"key": "shop", "adapter": "upper", "method": "POST", "path": "/" + CHAT}.items()
    assert told[0]["prompt_tokens"] == len("prompt words -> ")
    assert told[1]["new_tokens"] > 0
    assert told[1]["first_token_seconds"] > 0
    assert told[5]["error"] == "TypeError"
    assert any("call.py" in place for place in told[5]["trace"])
    assert len({one["id"] for one in told}) == len(told)


def test_errors_are_logged_without_their_words():
    try:
        raise RuntimeError("prompt words")
    except RuntimeError as error:
        record = logging.LogRecord("tenfold.x", logging.ERROR, "", 1, "request %d failed", (3,), (None, error, None))
    told = json.loads(Lines().format(record))
    assert told.items() >= {"message": "request 3 failed", "error": "RuntimeError", "level": "error"}.items()
    assert any("test_limits.py" in place for place in told["trace"])
    assert "prompt words" not in str(told)


def test_the_process_logs_json_lines(server, client):
    client.models.list()
    time.sleep(0.3)  # the line comes after the answer
    told = lines(server.log())
    assert told
    assert all(one["event"] == "request" for one in told)


def test_metrics(run):
    with hosting(run) as host:
        host.client.post(CHAT, json=ask("a text that is long enough to be found again, token by token"))
        host.client.post(CHAT, json=ask("a text that is long enough to be found again, token by token"))
        host.client.post(CHAT, json=ask(model="upper:0.5+talk:0.5"))
        host.client.post(CHAT, json=ask(model="nothing"))
        client = host.client
        assert metric(client, "tenfold_requests_total", adapter="upper", status="200") == 2
        assert metric(client, "tenfold_requests_total", adapter="mixture", status="200") == 1
        assert metric(client, "tenfold_requests_total", adapter="", status="404") == 1
        assert metric(client, "tenfold_prompt_tokens_total", adapter="upper") > 100
        assert 0 < metric(client, "tenfold_new_tokens_total", adapter="upper") <= 24
        assert metric(client, "tenfold_time_to_first_token_seconds_count", adapter="upper") == 2
        assert metric(client, "tenfold_time_per_token_seconds_count", adapter="upper") == 2
        assert metric(client, "tenfold_batch_rows_count") > 3
        assert metric(client, "tenfold_prefix_hit_tokens_total") > 20
        assert metric(client, "tenfold_adapters") == 3
        for name in ("tenfold_queue", "tenfold_running", "tenfold_cache_bytes", "tenfold_steps_total"):
            assert f"\n{name} " in client.get("metrics").text
    with hosting(run, admin=ADMIN) as host:
        assert host.client.get("metrics").status_code == 401
        assert host.client.get("metrics", headers=bearer(ADMIN)).status_code == 200


def test_other_origins_get_nothing(run):
    with hosting(run) as host:
        headers = {"origin": "https://example.com", "access-control-request-method": "POST"}
        response = host.client.options(CHAT, headers=headers)
        assert response.status_code == 405
        assert not [name for name in response.headers if name.startswith("access-control")]
        assert "access-control-allow-origin" not in host.client.get("v1/models", headers=headers).headers
        assert host.client.get("docs").status_code == 404
        assert host.client.get("nowhere").json()["error"]["code"] == "not_found"
