"""Requests that join and leave at every step: turns, streams, cancellation, limits, failures, the prefix cache."""

import json
import math

import pytest
import torch
from tiny import tiny_model
from tokens import byte_tokenizer
from worlds import COMPOSITIONS, alone, prompts, same, tiny_bank

from tenfold.adapters import Bank, Frame, Segment, compose
from tenfold.adapters.dora import Config as Dora
from tenfold.adapters.lora import Config
from tenfold.base.model import Base
from tenfold.errors import AdapterError, ConfigError, DataError, QueueError
from tenfold.generate import Engine, Live, Request, Sampling
from tenfold.generate.event import Answer
from tenfold.generate.prefix import BLOCK


def finish(live, numbers=None):
    """Step until it is idle -> the answers by number, and how many steps each got its first and last event in."""
    answers, first, last, step = {}, {}, {}, 0
    while not live.idle:
        step += 1
        for event in live.step():
            answers.setdefault(event.number, Answer()).add(event)
            first.setdefault(event.number, step)
            last[event.number] = step
    return answers, first, last


def agree(bank, request, completion):
    truth, gaps = alone(bank, request.prompt, request.composition, request.max_new_tokens)
    return same(completion.tokens, truth, gaps)[0]


@pytest.mark.parametrize("family", ["llama", "gemma2", "bloom", "gpt_neo"])
def test_requests_join_and_leave_at_every_step(family):
    bank = tiny_bank(family)
    live, waiting, answers = Live(bank, max_rows=3, prefill_tokens=9), {}, {}
    requests = [Request(p, COMPOSITIONS[i % 4], 3 + i % 7) for i, p in enumerate(prompts(12, high=30))]
    for request in requests:
        waiting[live.submit(request)] = request
        for event in live.step():
            answers.setdefault(event.number, Answer()).add(event)
    for number, answer in finish(live)[0].items():
        answers.setdefault(number, Answer())._events.extend(answer._events)
    for number, request in waiting.items():
        assert agree(bank, request, answers[number].completion())
    assert live.idle
    assert live.step() == []
    assert (live.stats().waiting, live.stats().running) == (0, 0)
    assert live.stats().new_tokens == sum(r.max_new_tokens for r in requests)


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_events_are_the_answer_in_pieces(family):
    bank = tiny_bank(family)
    asked = [Request(p, COMPOSITIONS[i % 4], 20) for i, p in enumerate(prompts(8))]
    whole = Engine(bank).generate(asked)
    stops = (*sorted({c.text[6:8] for c in whole[:3]} - {""}), "zz")
    live = Live(bank)
    for request in asked:
        live.submit(Request(request.prompt, request.composition, 20, stop=stops))
    told = {}
    while not live.idle:
        for event in live.step():
            told.setdefault(event.number, []).append(event)
    for i, events in told.items():
        text = "".join(event.text for event in events)
        places = [whole[i].text.find(stop) for stop in stops if stop in whole[i].text]
        assert text == whole[i].text[: min(places, default=None)]
        assert [event.finish for event in events[:-1]] == [None] * (len(events) - 1)
        assert events[-1].finish == ("stop" if places else "length")


def test_short_prompts_are_not_held_up_by_a_long_one():
    bank = tiny_bank()
    live = Live(bank, prefill_tokens=16)
    long = live.submit(Request([5] * 200, max_new_tokens=2))
    short = [live.submit(Request([7, 8, 9 + i], max_new_tokens=2)) for i in range(4)]
    running = live.submit(Request([11], max_new_tokens=40))
    _, first, last = finish(live)
    assert max(last[n] for n in short) < first[long]
    assert first[running] < first[long]


def test_tenants_and_adapters_take_turns():
    bank = tiny_bank()
    live = Live(bank, max_rows=1)
    many = [live.submit(Request([5, i], max_new_tokens=4), tenant="many") for i in range(3, 9)]
    other = [live.submit(Request([6, i], compose("a"), 4), tenant="few") for i in range(3, 5)]
    _, first, last = finish(live)
    order = sorted(many + other, key=first.__getitem__)
    assert order[:4] == [many[0], other[0], many[1], other[1]]
    one = [live.submit(Request([5, i], compose("a"), 4)) for i in range(3, 9)]
    two = [live.submit(Request([5, i], compose("b"), 4)) for i in range(3, 5)]
    _, first, last = finish(live)
    assert max(last[n] for n in two) < last[one[3]]


def test_cancelled_requests_leave_and_the_others_stay_as_they_were():
    bank = tiny_bank()
    requests = [Request(p, COMPOSITIONS[i % 4], 12) for i, p in enumerate(prompts(9))]
    truth = Engine(bank).generate(requests)
    live, answers = Live(bank, max_rows=5), {}
    numbers = [live.submit(request) for request in requests]
    live.cancel(8)
    live.cancel(1000)
    for step in range(200):
        if step == 5:
            live.cancel(0)
            live.cancel(3)
        for event in live.step():
            answers.setdefault(event.number, Answer()).add(event)
    assert live.idle
    for number in numbers:
        completion = answers[number].completion()
        if number in (0, 3, 8):
            assert completion.finish == "cancelled"
            assert completion.tokens == truth[number].tokens[: len(completion.tokens)]
        else:
            assert completion == truth[number]
    assert live.stats().running == 0


def test_logprobs_are_the_models():
    bank = tiny_bank()
    prompt = prompts(1, low=9)[0]
    [told] = Engine(bank).generate([Request(prompt, compose("a"), 6, Sampling(0.9, seed=3), logprobs=4)])
    assert [one.token for one in told.logprobs] == told.tokens
    ids = torch.tensor([prompt + told.tokens])
    with torch.inference_mode(), bank.use(Frame([Segment(0, 1000, compose("a"))])):
        truth = bank.base.model(ids).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
    for one, values in zip(told.logprobs, truth, strict=True):
        assert one.logprob == pytest.approx(float(values[one.token]), abs=1e-4)
        assert [token for token, _ in one.best] == values.topk(4).indices.tolist()
    [quiet] = Engine(bank).generate([Request(prompt, max_new_tokens=3)])
    assert quiet.logprobs == ()


def test_limits_are_one_line():
    bank = tiny_bank()
    live = Live(bank, max_waiting=2)
    for _ in range(2):
        live.submit(Request([5]))
    with pytest.raises(QueueError, match="2 requests wait already"):
        live.submit(Request([5]))
    with pytest.raises(ConfigError, match="prefill_tokens: 0"):
        Live(bank, prefill_tokens=0)
    with pytest.raises(ConfigError, match="logprobs: 99"):
        Request([5], logprobs=99)
    fresh = Live(bank, max_cache_bytes=1000)
    with pytest.raises(ConfigError, match="max_cache_bytes: 1000"):
        fresh.submit(Request([5], max_new_tokens=50))
    with pytest.raises(DataError, match="256 positions"):
        fresh.submit(Request([5] * 256))
    with pytest.raises(AdapterError, match="no adapter 'z'"):
        fresh.submit(Request([5], compose("z")))


def test_the_cache_stays_within_its_bytes_and_all_are_served():
    bank = tiny_bank()
    each = 2 * 2 * 2 * 8 * 4
    limit = 600 * each
    live = Live(bank, max_cache_bytes=limit)
    requests = [Request(p, COMPOSITIONS[i % 4], 20) for i, p in enumerate(prompts(10, low=30, high=90))]
    truth = Engine(bank).generate(requests)
    for request in requests:
        live.submit(request)
    answers = {}
    while not live.idle:
        for event in live.step():
            answers.setdefault(event.number, Answer()).add(event)
        assert live.stats().cache_bytes <= limit
        assert live.stats().running <= 2
    assert [answers[i].completion().tokens for i in range(10)] == [c.tokens for c in truth]


class Broken(torch.nn.Module):
    def forward(self, *_):
        raise RuntimeError("out of order")


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_what_fails_ends_alone_and_the_engine_goes_on(family):
    bank = tiny_bank(family, ("a", "b", "nan"))
    for parameter in bank.parameters("nan").values():
        parameter.data.fill_(math.nan)
    requests = [Request(p, compose(("a", "b", "nan")[i % 3]), 8) for i, p in enumerate(prompts(9))]
    healthy = [i for i in range(9) if i % 3 < 2]
    truth = dict(zip(healthy, Engine(bank).generate([requests[i] for i in healthy]), strict=True))
    live = Live(bank, max_rows=4)
    for _ in range(2):
        numbers = [live.submit(request) for request in requests]
        answers, _, _ = finish(live)
        for i, number in enumerate(numbers):
            if i % 3 == 2:
                assert answers[number]._events[-1].finish == "error"
                assert "not finite" in answers[number]._events[-1].error
            else:
                assert answers[number].completion().tokens == truth[i].tokens


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_an_exception_in_a_pass_hits_the_adapter_that_raised_it(family, monkeypatch):
    bank = tiny_bank(family, ("a", "b"))
    bank.add("bad", "dora", Dora(), seed=0)
    part = next(iter(bank.get("bad").modules.values()))
    requests = [Request(p, compose(("a", "bad", "b")[i % 3]), 6) for i, p in enumerate(prompts(6))]
    live = Live(bank)
    numbers = [live.submit(request) for request in requests]
    told = live.step()
    monkeypatch.setattr(type(part), "scaled", Broken().forward)
    monkeypatch.setattr(type(part), "delta", Broken().forward)
    answers, _, _ = finish(live)
    for event in told:
        answers[event.number]._events.insert(0, event)
    for i, number in enumerate(numbers):
        if i % 3 == 1:
            assert answers[number]._events[-1].error == "RuntimeError: out of order"
        else:
            assert agree(bank, requests[i], answers[number].completion())


def test_a_known_beginning_is_found_and_changes_nothing():
    bank = tiny_bank()
    shared = prompts(1, low=3 * BLOCK, high=3 * BLOCK)[0]
    requests = [Request([*shared, 5 + i], compose("a"), 6) for i in range(3)]
    live = Live(bank)
    for request in requests:
        number = live.submit(request)
        assert agree(bank, request, finish(live)[0][number].completion())
    assert live.stats().prefix_hit_tokens == 2 * (len(shared) // BLOCK) * BLOCK
    together = Live(bank)
    numbers = [together.submit(request) for request in requests]
    answers, _, _ = finish(together)
    assert all(agree(bank, r, answers[n].completion()) for r, n in zip(requests, numbers, strict=True))
    assert together.stats().prefix_hit_tokens == live.stats().prefix_hit_tokens


def test_an_answer_is_a_known_beginning_too():
    bank = tiny_bank()
    first = Request(prompts(1, low=BLOCK, high=BLOCK)[0], max_new_tokens=BLOCK + 4)
    live = Live(bank)
    live.submit(first)
    told = finish(live)[0][0].completion()
    second = Request([*first.prompt, *told.tokens, 7], max_new_tokens=5)
    number = live.submit(second)
    assert agree(bank, second, finish(live)[0][number].completion())
    assert live.stats().prefix_hit_tokens >= 2 * BLOCK


@pytest.mark.parametrize(
    ("tenant", "composition"), [("else", compose("a")), ("", compose("b")), ("", compose(("a", 0.5)))]
)
def test_other_tenants_and_adapters_find_nothing(tenant, composition):
    bank, prompt = tiny_bank(), prompts(1, low=70, high=70)[0]
    live = Live(bank)
    live.submit(Request(prompt, compose("a"), 2))
    finish(live)
    live.submit(Request(prompt, composition, 2), tenant=tenant)
    finish(live)
    assert live.stats().prefix_hit_tokens == 0


def test_a_new_adapter_under_an_old_name_finds_nothing():
    bank, prompt = tiny_bank(), prompts(1, low=70, high=70)[0]
    live, request = Live(bank), Request(prompt, compose("a"), 8)
    live.submit(request)
    before = finish(live)[0][0].completion()
    bank.remove("a")
    bank.add("a", "lora", Config(lora_r=4), seed=9)
    with torch.no_grad():
        for parameter in bank.parameters("a").values():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(77))
    number = live.submit(request)
    after = finish(live)[0][number].completion()
    assert agree(bank, request, after)
    assert after.tokens != before.tokens
    assert live.stats().prefix_hit_tokens == 0


def test_answers_that_must_be_json_are():
    bank = Bank(Base(tiny_model("llama", vocab_size=300), byte_tokenizer(), "bytes", ""))
    schema = {"type": "object", "properties": {"n": {"enum": [1, 22]}, "s": {"type": "string", "maxLength": 5}},
              "required": ["n", "s"], "additionalProperties": False}  # fmt: skip
    prompt = prompts(1)[0]
    mixed = [Request(prompt, max_new_tokens=90, sampling=Sampling(0.1 * i, seed=i), json=schema) for i in range(6)]
    mixed += [Request(prompt, max_new_tokens=60), Request(prompt, max_new_tokens=9, json=True)]
    found = Engine(bank).generate(mixed)
    whole = [completion for completion in found[:6] if completion.finish == "eos"]
    for completion in whole:
        values = json.loads(completion.text)
        assert set(values) == {"n", "s"}
        assert values["n"] in (1, 22)
    assert len(whole) >= 2
    assert found[6] == Engine(bank).generate(mixed[6:7])[0]
    assert found[7].text.startswith("{")
    with pytest.raises(ConfigError, match="json: the schema cannot be followed"):
        Engine(bank).generate([Request(prompt, json={"type": "nonsense"})])
    with pytest.raises(ConfigError, match="json: the tokenizer"):
        Engine(tiny_bank()).generate([Request(prompt, json=True)])
