"""The server on the real base: a chat model, and answers that must be JSON."""

import json

import openai
import pytest
from process import serving
from world import save_adapter

from tenfold.adapters import Bank

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.xdist_group("smollm2")]


@pytest.fixture(scope="module")
def client(smollm2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "skill"
    save_adapter(Bank(smollm2), "skill", folder, seed=0, prompt={"prompt_style": "chat", "max_new_tokens": 12})
    with serving(folder) as process:
        yield openai.OpenAI(base_url=f"{process.address}v1", api_key="none", max_retries=0)


def test_the_base_chats_in_a_stream(client):
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    ask = {"model": "base", "messages": messages, "max_tokens": 12}
    whole = client.chat.completions.create(**ask)
    assert "Paris" in whole.choices[0].message.content
    streamed = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**ask, stream=True)]
    assert "".join(streamed) == whole.choices[0].message.content
    assert len([piece for piece in streamed if piece]) > 3
    other = client.chat.completions.create(**{**ask, "model": "skill"})
    assert other.choices[0].message.content != whole.choices[0].message.content


def test_answers_are_json_where_they_must_be(client):
    pytest.importorskip("llguidance")
    schema = {
        "type": "object", "required": ["city", "sure"], "additionalProperties": False,
        "properties": {"city": {"type": "string", "maxLength": 20}, "sure": {"type": "boolean"}},
    }  # fmt: skip
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    messages = [{"role": "user", "content": "The capital of France?"}]
    found = client.chat.completions.create(model="base", messages=messages, response_format=wanted, max_tokens=60)
    value = json.loads(found.choices[0].message.content)
    assert set(value) == {"city", "sure"}
    assert isinstance(value["sure"], bool)
    broken = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no such type"}}}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="base", messages=messages, response_format=broken)
