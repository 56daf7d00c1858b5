import json
import shutil

import pytest
from shown import HOSTILE
from sweeps import record
from tiny import tiny_model
from tokens import tiny_tokenizer

import tenfold
from tenfold.config import Config

WORDS = {"upper": "apple pear plum cherry melon", "sums": "one two three four five"}


def rows(words):
    pairs = [f"{a} {b}" for a in words.split() for b in words.split() if a != b]
    return [{"text": pair, "answer": pair.upper()} for pair in pairs]


@pytest.fixture(scope="session")
def ground(tmp_path_factory):
    """A folder with a tiny base and rows of two tasks; one of them holds what would be markup."""
    place = tmp_path_factory.mktemp("report")
    tiny_model().save_pretrained(place / "base")
    tiny_tokenizer().save_pretrained(place / "base")
    for name, words in WORDS.items():
        made = rows(words)
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made[:14]))
        held = [{"text": HOSTILE, "answer": "</style><b>"}, *made[14:]]
        (place / f"{name}-test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    return place


def settings(place, name, **more):
    tasks = {
        task: {
            "path": f"{task}.jsonl", "eval_path": f"{task}-test.jsonl", "validation_path": f"{task}-test.jsonl",
            "prompt": f"{task}: {{text}} ->", "response": "{answer}", "max_new_tokens": 3,
            "metrics": ["exact_match", "loss"],
        }
        for task in WORDS
    }  # fmt: skip
    top = {"base_model": str(place / "base"), "output_dir": str(place / name), "steps": 6, "eval_steps": 2, "lora_r": 2}
    return Config.parse({**top, "prompt_style": "raw", "device": "cpu", "tasks": tasks, **more}, place)


@pytest.fixture(scope="session")
def trained(ground):
    """The folder of a run of two tasks side by side, with a router."""
    return tenfold.train(settings(ground, "run")).run.folder.path


@pytest.fixture(scope="session")
def staged(ground):
    """The folder of a run of two seeds, one task after the other."""
    config = settings(ground, "staged", schedule="sequential", train_ratio=0.2, seeds=[0, 1], steps=2)
    tenfold.train(config)
    return config.output_dir


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep's record: six trials of two groups, one of them pruned, one task with overlap."""
    place = tmp_path / "study"
    place.mkdir()
    (place / "sweep.json").write_text(json.dumps(record()))
    return place
