import json
import shutil

import pytest
from peer import fill
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold import base, store
from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.store import card

PROMPTS = {"question_answering": "Q: {instruction}\nA: ", "summarization": "{instruction}|{input}\n"}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A tiny base on disk, and a checkpoint for each of two tasks, all relative to one folder."""
    place = tmp_path_factory.mktemp("lora")
    tiny_model().save_pretrained(place / "base")
    tiny_tokenizer().save_pretrained(place / "base")
    bank = Bank(base.load(str(place / "base")))
    for seed, (task, prompt) in enumerate(PROMPTS.items()):
        bank.add(task, "lora", Config(lora_r=4), seed=seed)
        fill(bank.parameters(task).values(), seed)
        settings = {"prompt": prompt, "prompt_style": "raw", "data_format": "alpaca"}
        store.save(bank, task, place / "checkpoints" / task, card.describe(bank.base, task=task, prompt=settings))
    mapper = {task: f"checkpoints/{task}" for task in PROMPTS}
    (place / "mapper.json").write_text(json.dumps(mapper))
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "lora")
