"""lora-pytorch's MultiTaskModel over tenfold's parts: the answers of PEFT with the same checkpoints."""

import json
import pathlib

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import tenfold.compat as lora
import tenfold.route
from tenfold.errors import AdapterError, ConfigError, ModelError

ASKED = {"instruction": "who?", "input": "me", "max_new_tokens": 9}


@pytest.fixture
def model(place):
    return lora.MultiTaskModel(place / "base", place / "mapper.json", device="cpu")


def write_mapper(place, tasks):
    (place / "mapper.json").write_text(json.dumps(tasks))
    return place / "mapper.json"


def plain(place, task, prompt, **generation):
    """What transformers' generate says with PEFT's model."""
    tokenizer = AutoTokenizer.from_pretrained(place / "base")
    base = AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, place / "checkpoints" / task).eval()
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=True).input_ids
    with torch.no_grad():
        out = model.generate(input_ids=ids, do_sample=False, **generation)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_each_task_answers_in_its_own_format_with_its_own_checkpoint(place, model):
    asked = {"question_answering": "Q: who?\nA: ", "summarization": "who?|me\n"}
    for _ in range(2):
        for task, prompt in asked.items():
            found = model.generate_response(downstream=task, **ASKED)
            assert found == plain(place, task, prompt, max_new_tokens=9)
    assert (model.cache.misses, model.cache.hits) == (2, 2)


def test_the_input_may_be_left_out(place, model):
    found = model.generate_response(downstream="summarization", instruction="who?", max_new_tokens=4)
    assert found == plain(place, "summarization", "who?|\n", max_new_tokens=4)


def test_the_answer_is_as_long_as_the_default_says(model):
    assert len(model.generate_response("question_answering", "a", temperature=1.0, seed=3)) <= 128


def test_generation_settings_hold(model):
    say = model.generate_response
    once, again = (say("summarization", "abc", max_new_tokens=12, temperature=2.0, seed=1) for _ in range(2))
    assert once == again
    assert once != say("summarization", "abc", max_new_tokens=12, temperature=2.0, seed=2)
    greedy = say("summarization", "abc", max_new_tokens=12)
    assert greedy == say("summarization", "abc", max_new_tokens=12, temperature=2.0, top_k=1)
    assert greedy == say("summarization", "abc", max_new_tokens=12, temperature=2.0, top_p=1e-6)
    for stop in (greedy[3], (greedy[3],)):
        assert say("summarization", "abc", max_new_tokens=12, stop=stop) == greedy[: greedy.index(greedy[3])]


def test_a_dict_and_runs_will_do(place, monkeypatch):
    """Relative paths start at the JSON's folder, in a dict where the process is."""
    by_file = lora.MultiTaskModel(place / "base", write_mapper(place, {"a": "checkpoints/summarization"}))
    monkeypatch.chdir(place)
    by_dict = lora.MultiTaskModel("./base", {"a": pathlib.Path("checkpoints/summarization")})
    monkeypatch.chdir("/")
    found = by_file.generate_response("a", **ASKED)
    assert found == by_dict.generate_response("a", **ASKED) != ""
    (place / "run" / "adapters").mkdir(parents=True)
    (place / "checkpoints" / "summarization").rename(place / "run" / "adapters" / "x")
    by_run = lora.MultiTaskModel(place / "base", {"a": place / "run"})
    assert by_run.generate_response("a", **ASKED) == found


def test_within_a_limit_only_one_stays(place):
    alone = lora.MultiTaskModel(place / "base", place / "mapper.json")
    alone.generate_response("summarization", **ASKED)
    size = alone.cache.bytes
    model = lora.MultiTaskModel(place / "base", place / "mapper.json", max_bytes=size)
    for task in ("summarization", "question_answering", "summarization"):
        model.generate_response(task, **ASKED)
    assert (model.cache.evictions, model.cache.bytes) == (2, size)


def test_a_checkpoint_of_peft_s_without_a_card(place):
    (place / "checkpoints" / "summarization" / "card.json").unlink()
    model = lora.MultiTaskModel(place / "base", place / "mapper.json")
    found = model.generate_response("summarization", "who?", max_new_tokens=5)
    assert found == plain(place, "summarization", "<s>[user] who?\n[assistant] ", max_new_tokens=5)


def test_the_report(place, model):
    found = model.report()
    assert list(found) == ["question_answering", "summarization"]
    one = found["summarization"]
    files = (place / "checkpoints" / "summarization").iterdir()
    peft = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(place / "base"), place / "checkpoints" / "summarization", is_trainable=True
    )
    trainable, whole = peft.get_nb_trainable_parameters()
    assert (one.parameters, one.share) == (trainable, trainable / whole)
    assert one.checkpoint_bytes == sum(path.stat().st_size for path in files)
    assert 0 < one.swap_seconds < 10
    assert f"trainable: {trainable:,} parameters" in str(one)
    assert not model.bank.adapters


@pytest.mark.parametrize(
    ("downstream", "settings", "words"),
    [
        ("sumarization", {}, ["'sumarization'", "question_answering, summarization", "did you mean 'summarization'"]),
        (None, {}, ["no router", "question_answering, summarization"]),
        ("summarization", {"num_beams": 4}, ["num_beams", "max_new_tokens, temperature, top_k, top_p, seed, stop"]),
        ("summarization", {"max_tokens": 4}, ["max_tokens", "did you mean 'max_new_tokens'"]),
        ("summarization", {"top_p": 2.0}, ["top_p", "2.0"]),
        ("summarization", {"max_new_tokens": 0}, ["max_new_tokens", "0"]),
    ],
)
def test_mistakes_in_asking(model, downstream, settings, words):
    with pytest.raises(ConfigError) as error:
        model.generate_response(downstream=downstream, instruction="x", **settings)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mapper", "kind", "words"),
    [
        ("{}", ConfigError, ["mapper.json", "no downstream task"]),
        ("[]", ConfigError, ["mapper.json", "object"]),
        ("{", ConfigError, ["mapper.json", "JSON"]),
        ('{"a": 1}', ConfigError, ["'a'", "1", "path of a checkpoint"]),
        ('{"a": "nowhere"}', AdapterError, ["nowhere", "it has none"]),
        ('{"a": "checkpoints"}', AdapterError, ["checkpoints", "it has none"]),
    ],
)
def test_mistakes_in_the_mapper(place, mapper, kind, words):
    (place / "mapper.json").write_text(mapper)
    with pytest.raises(kind) as error:
        lora.MultiTaskModel(place / "base", place / "mapper.json")
    assert all(word in str(error.value) for word in words), error.value


def test_a_mapper_that_is_not_there(place):
    with pytest.raises(ConfigError, match=r"cannot read .*nothing.json"):
        lora.MultiTaskModel(place / "base", place / "nothing.json")


def test_a_run_with_several_adapters_is_no_checkpoint(place):
    (place / "checkpoints").rename(place / "adapters")
    with pytest.raises(AdapterError, match=r"has several adapters; give one of .*question_answering.*summarization"):
        lora.MultiTaskModel(place / "base", {"a": place})


def test_a_base_that_is_not_there(place):
    with pytest.raises(ModelError, match="nowhere"):
        lora.MultiTaskModel("./nowhere", place / "mapper.json")


def test_a_float_type_that_is_none(place):
    with pytest.raises(ConfigError, match="dtype: 'int8' given; must be auto, float32, bfloat16, float16"):
        lora.MultiTaskModel(place / "base", place / "mapper.json", dtype="int8")


def test_a_card_whose_prompt_is_broken(place, model):
    path = place / "checkpoints" / "summarization" / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prompt": {"prompt": "{"}}))
    with pytest.raises(AdapterError, match=r"card.json: prompt.prompt: "):
        model.generate_response("summarization", "x")


def test_without_a_task_the_router_chooses_one(place):
    texts = {"question_answering": ["who is it", "where is it", "when was it"], "summarization": ["make it short"] * 3}
    router = tenfold.route.fit(texts, kinds=["nearest"])
    router.save(place / "router")  # where the run of both checkpoints would have it
    for given in (None, router, place / "router", place):
        model = lora.MultiTaskModel(place / "base", place / "mapper.json", "cpu", router=given)
        asked = {"instruction": "where is it", "max_new_tokens": 4}
        assert model.generate_response(**asked) == model.generate_response("question_answering", **asked)
    assert isinstance(model.generate_response(instruction="", max_new_tokens=2), str)  # out of scope: the base
    model.router = tenfold.route.fit({"elsewhere": ["where is it"], "other": ["no"]}, kinds=["nearest"])
    with pytest.raises(ConfigError, match="'elsewhere', which has no checkpoint"):
        model.generate_response(instruction="where is it")
