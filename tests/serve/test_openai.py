"""The real ``openai`` package against a real server."""

import openai
import pytest
from world import answers


def text(completion):
    return completion.choices[0].message.content


def user(content):
    return [{"role": "user", "content": content}]


def test_models_are_the_base_and_every_task(client):
    found = {model.id: model.model_extra["tenfold"] for model in client.models.list()}
    assert list(found) == ["base", "sums", "talk", "upper"]
    assert found["sums"]["columns"] == ["a", "b"]
    assert found["talk"]["converses"]
    assert not found["upper"]["converses"]
    assert client.models.retrieve("upper").id == "upper"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("uper")


def test_answers_are_those_of_generate(client, run):
    texts = ["ab", "hello there", "x"]
    found = [text(client.chat.completions.create(model="upper", messages=user(one))) for one in texts]
    assert found == answers(run, texts, "upper")
    columns = {"a": "1", "b": "22"}
    summed = client.chat.completions.create(model="sums", messages=[], extra_body={"columns": columns})
    assert text(summed) == answers(run, [columns], "sums")[0]
    talked = client.chat.completions.create(model="talk", messages=user("hi"))
    assert text(talked) == answers(run, ["hi"], "talk")[0]
    mixed = client.chat.completions.create(model="upper:0.5+talk:0.5", messages=user("hi"))
    assert text(mixed) == answers(run, ["hi"], "upper:0.5+talk:0.5")[0]
    plain = client.chat.completions.create(model="base", messages=user("hi"), max_tokens=7)
    assert text(plain) == answers(run, ["hi"], "base", max_new_tokens=7)[0]
    assert plain.model_extra["tenfold"] == {"adapter": None, "generations": {}, "choice": None}


def test_a_plain_completion_continues_the_text_as_it_stands(client, run):
    filled = client.completions.create(model="upper", prompt="ab -> ")
    assert filled.choices[0].text == answers(run, ["ab"], "upper")[0]
    both = client.completions.create(model="upper", prompt=["ab -> ", "cd -> "], max_tokens=5, stop=None)
    assert [choice.text for choice in both.choices] == answers(run, ["ab", "cd"], "upper", max_new_tokens=5)
    tokens = client.completions.create(model="upper", prompt=[1, 5, 9], max_tokens=3)
    assert tokens.usage.prompt_tokens == 3
    assert tokens.usage.completion_tokens <= 3


def test_a_stream_adds_up_to_the_whole(client):
    whole = client.chat.completions.create(model="upper", messages=user("ab"), logprobs=True, top_logprobs=2)
    options = {"include_usage": True}
    stream = client.chat.completions.with_raw_response.create(
        model="upper", messages=user("ab"), stream=True, stream_options=options, logprobs=True, top_logprobs=2
    )
    assert stream.headers["x-tenfold-adapter"] == "upper"
    chunks = list(stream.parse())
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text(whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].model_extra["tenfold"]["adapter"] == "upper"
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    told = [one for c in chunks if c.choices and c.choices[0].logprobs for one in c.choices[0].logprobs.content]
    assert told == whole.choices[0].logprobs.content
    assert len(told) == whole.usage.completion_tokens
    assert all(len(one.top_logprobs) == 2 and one.top_logprobs[0].logprob == one.logprob for one in told)


def test_n_seed_and_temperature(client):
    ask = {"model": "upper", "messages": user("ab"), "temperature": 1.5, "seed": 7, "max_tokens": 8}
    one = client.chat.completions.create(**ask, n=3)
    assert [choice.index for choice in one.choices] == [0, 1, 2]
    said = [choice.message.content for choice in one.choices]
    assert len(set(said)) > 1
    assert [c.message.content for c in client.chat.completions.create(**ask, n=3).choices] == said
    assert text(client.chat.completions.create(**ask)) == said[0]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**ask, n=3, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == said


def test_stop_and_length(client):
    whole = text(client.chat.completions.create(model="upper", messages=user("ab")))
    mark = whole[3:5]
    cut = client.chat.completions.create(model="upper", messages=user("ab"), stop=[mark, "zzz"])
    assert (text(cut), cut.choices[0].finish_reason) == (whole[: whole.find(mark)], "stop")
    short = client.chat.completions.create(model="upper", messages=user("ab"), max_completion_tokens=2)
    assert (text(short), short.choices[0].finish_reason) == (whole[:2], "length")
    assert short.usage.completion_tokens == 2
    assert short.usage.total_tokens == 2 + short.usage.prompt_tokens


def test_a_conversation_goes_through_the_chat_template(client):
    history = [*user("hi"), {"role": "assistant", "content": "yo"}, *user("and you?")]
    found = client.chat.completions.create(model="talk", messages=history, max_tokens=6)
    written = "<s>[system] be brief\n[user] hi\n[assistant] yo</s>[user] and you?\n[assistant] "
    same = client.completions.create(model="talk", prompt=written, max_tokens=6)
    assert text(found) == same.choices[0].text
    assert found.usage == same.usage
    with pytest.raises(openai.BadRequestError, match="answers one text"):
        client.chat.completions.create(model="upper", messages=history)


WRONG = [
    ({"model": "uper"}, openai.NotFoundError, "model_not_found", "model"),
    ({"model": "auto"}, openai.NotFoundError, "model_not_found", "model"),
    ({"model": "upper:nan"}, openai.NotFoundError, "model_not_found", "model"),
    ({"messages": []}, openai.BadRequestError, "invalid_body", None),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, openai.BadRequestError,
     None, "messages"),
    ({"temperature": 3}, openai.BadRequestError, "invalid_body", "temperature"),
    ({"frequency_penalty": 1}, openai.BadRequestError, "invalid_body", None),
    ({"tools": [{"type": "function"}]}, openai.BadRequestError, "invalid_body", None),
    ({"extra_body": {"colums": {}}}, openai.BadRequestError, "invalid_body", "colums"),
    ({"max_tokens": 100000}, openai.BadRequestError, "max_tokens_too_large", "max_tokens"),
    ({"n": 17}, openai.BadRequestError, None, "n"),
    ({"messages": [{"role": "user", "content": "x" * 600}]}, openai.BadRequestError, "context_length_exceeded",
     "messages"),
    ({"model": "sums"}, openai.BadRequestError, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error", "code", "param"), WRONG)
def test_what_is_wrong_is_said_in_openais_shape(client, change, error, code, param):
    with pytest.raises(error) as raised:
        client.chat.completions.create(**{"model": "upper", "messages": user("ab"), **change})
    assert raised.value.code == code
    assert raised.value.type == "invalid_request_error"
    assert param is None or raised.value.param == param
    with pytest.raises(error):  # the same before a stream begins
        client.chat.completions.create(**{"model": "upper", "messages": user("ab"), "stream": True, **change})


def test_fields_that_change_nothing_are_taken(client):
    plain = client.chat.completions.create(model="upper", messages=user("ab"))
    same = client.chat.completions.create(
        model="upper", messages=user("ab"), user="me", metadata={"a": "b"}, store=False, frequency_penalty=0,
        presence_penalty=0, logit_bias={}, service_tier="auto", parallel_tool_calls=True,
    )  # fmt: skip
    assert text(same) == text(plain)


def test_embeddings_are_not_offered(client):
    with pytest.raises(openai.APIStatusError, match="not offered") as raised:
        client.embeddings.create(model="base", input="x", encoding_format="float")
    assert raised.value.status_code == 501
