"""A run under lm-evaluation-harness, beside the harness' own class for transformers with PEFT."""

import json
import string
import subprocess
import sys

import pytest
import yaml
from peer import fill
from tiny import tiny_model
from tokens import tiny_tokenizer

pytest.importorskip("lm_eval", reason="needs the extra lm-eval")
pytest.importorskip("peft", reason="the peer")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tenfold import base, store
from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.compat.lm_eval import TenfoldLM
from tenfold.errors import ConfigError
from tenfold.store import card

POSITIONS = 128
QUESTIONS = [
    ("Is it red?", "yes", "It is red, as it was."), ("Two and two?", "four", "four, I should say"),
    ("Is the sea dry?", "no", "no"), ("A long one, with many words in it, is it?", "yes", "yes, it is"),
]  # fmt: skip
CHOICES = ["yes", "no", "four"]
TASKS = {
    "choices": {
        "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": CHOICES,
        "doc_to_target": "{{choices.index(answer)}}", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "answers": {
        "output_type": "generate_until", "doc_to_text": "{{question}} ", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["e", "\n"], "max_gen_toks": 12}, "metric_list": [{"metric": "exact_match"}],
    },
    "texts": {
        "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with one adapter that does something, and the three kinds of task as the harness wants them."""
    folder = tmp_path_factory.mktemp("harness")
    tiny_model(max_position_embeddings=POSITIONS).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    (folder / "rows.jsonl").write_text('{"text": "a", "answer": "b"}\n')
    (folder / "run").mkdir()
    task = {"path": "../rows.jsonl", "prompt": "{text}", "response": "{answer}"}
    config = {"base_model": str(folder / "base"), "output_dir": str(folder / "run"), "tasks": {"words": task}}
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "run" / "plan.json").write_text("{}")
    bank = Bank(base.load(str(folder / "base")))
    bank.add("words", "lora", Config(lora_r=4), seed=1)
    fill(bank.parameters("words").values(), 1)
    store.save(bank, "words", folder / "run" / "adapters" / "words", card.describe(bank.base))
    rows = [{"question": q, "answer": a, "text": t * 20, "choices": CHOICES} for q, a, t in QUESTIONS]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tasks").mkdir()
    for name, own in TASKS.items():
        source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "questions.jsonl")}}}
        (folder / "tasks" / f"{name}.yaml").write_text(
            yaml.safe_dump({"task": name, "test_split": "test", **source, **own})
        )
    return folder


@pytest.fixture(scope="module")
def ours(folder):
    return TenfoldLM(str(folder / "run"), "words")


@pytest.fixture(scope="module")
def theirs(folder):
    return HFLM(
        pretrained=str(folder / "base"), peft=str(folder / "run" / "adapters" / "words"), dtype="float32", device="cpu",
        batch_size=1, max_length=POSITIONS - 1,
    )  # fmt: skip


def ask(model, what, *arguments):
    return getattr(model, what)([Instance(what, {}, one, number) for number, one in enumerate(arguments)])


def test_scores_are_those_of_transformers_with_peft(ours, theirs):
    pairs = [(f"{question} ", answer) for question, answer, _ in QUESTIONS] + [("", "no context"), ("x" * 200, "y" * 9)]
    asked = [("ab ", "c d"), ("trailing  ", "spaces"), *pairs]
    for mine, own in zip(ask(ours, "loglikelihood", *asked), ask(theirs, "loglikelihood", *asked), strict=True):
        assert mine[0] == pytest.approx(own[0], rel=1e-5, abs=1e-4)
        assert mine[1] == own[1]


def test_the_likeliest_continuation_is_said_to_be(ours, theirs):
    settings = {"until": [], "max_gen_toks": 3, "do_sample": False}
    contexts = [f"{letter}. what is it? {letter}" for letter in string.ascii_letters]
    said = ask(ours, "generate_until", *((context, settings) for context in contexts))
    pairs = [(context, text) for context, text in zip(contexts, said, strict=True) if len(text.strip()) == 3]
    assert len(pairs) >= 3  # whole: no special token was left out, and no space moves to the context
    for model in (ours, theirs):
        assert all(greedy for _, greedy in ask(model, "loglikelihood", *pairs))
        assert not any(greedy for _, greedy in ask(model, "loglikelihood", *((a, f"{b[:-1]}#") for a, b in pairs)))


def test_texts_longer_than_the_model_are_scored_in_windows(ours, theirs):
    texts = [(text * 30,) for _, _, text in QUESTIONS] + [("x",)]
    mine, own = ask(ours, "loglikelihood_rolling", *texts), ask(theirs, "loglikelihood_rolling", *texts)
    assert mine == pytest.approx(own, rel=1e-5)


def test_answers_are_those_of_transformers_with_peft(ours, theirs):
    # No letter of "<pad>" or "<unk>" ends an answer: the harness looks for stop texts in those, too.
    kinds = [{"until": ["e", "\n"], "max_gen_toks": 20}, {"until": "g", "max_new_tokens": 7}, {"until": []}]
    kinds[2]["max_gen_toks"] = 30
    asked = [
        (question * (1 + 5 * (place == 3)), dict(kind))
        for place, (question, *_) in enumerate(QUESTIONS)
        for kind in kinds
    ]
    assert ask(ours, "generate_until", *asked) == ask(theirs, "generate_until", *asked)


def test_a_whole_evaluation(folder, ours, theirs):
    manager = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    mine, own = (
        lm_eval.simple_evaluate(model=model, tasks=list(TASKS), task_manager=manager, bootstrap_iters=0)["results"]
        for model in (ours, theirs)
    )
    assert mine.keys() == own.keys() == set(TASKS)
    for name in TASKS:
        numbers = {key: value for key, value in own[name].items() if isinstance(value, float)}
        assert numbers
        assert {key: mine[name][key] for key in numbers} == pytest.approx(numbers, rel=1e-5)


def test_mistakes(folder):
    with pytest.raises(ConfigError, match="no adapter 'other'"):
        TenfoldLM(str(folder / "run"), "other")
    model = TenfoldLM(str(folder / "run"))
    with pytest.raises(ConfigError, match="num_beams"):
        ask(model, "generate_until", ("x", {"num_beams": 4}))
    with pytest.raises(ConfigError, match="max_gen_toks 500"):
        ask(model, "generate_until", ("x", {"max_gen_toks": 500}))


@pytest.mark.slow
def test_the_harness_own_command_line(folder, tmp_path):
    command = [
        sys.executable,
        "-m",
        "tenfold.compat.lm_eval",
        "run",
        "--model",
        "tenfold",
        "--tasks",
        "choices,answers",
    ]
    command += ["--model_args", f"run={folder / 'run'},adapter=words", "--include_path", str(folder / "tasks")]
    done = subprocess.run([*command, "--output_path", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "|choices|" in done.stdout.replace(" ", "")
    command[command.index("--model_args") + 1] = f"run={folder / 'run'},adapter=other"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: no adapter 'other'")
