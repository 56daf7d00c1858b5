import random

import pytest
import torch
import transformers
from tiny import BERT, tiny_model
from tokens import tiny_tokenizer

from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.base import Base

VERBS = {
    "weather": "rain snow sun wind forecast cloud storm degrees umbrella cold",
    "sums": "plus minus times divided sum equals total number add subtract",
    "cooking": "bake boil fry onion flour oven salt pepper recipe butter",
}


def sentences(words, count, seed):
    """Short made texts of a topic's words and common ones."""
    draw, common = random.Random(seed), ["please", "tell", "me", "what", "is", "the", "for", "today", "now", "my"]
    own = words.split()
    return [" ".join(draw.sample(own, 3) + draw.sample(common, 3)) for _ in range(count)]


@pytest.fixture(scope="session")
def topics():
    """Three topics, texts to learn from and others to be asked about."""
    train = {name: sentences(words, 40, 1) for name, words in VERBS.items()}
    asked = {name: sentences(words, 20, 2) for name, words in VERBS.items()}
    return train, asked


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """A tiny random encoder on disk, with sentence-transformers' settings."""
    folder = tmp_path_factory.mktemp("models") / "encoder"
    torch.manual_seed(0)
    config = transformers.BertConfig(**BERT)
    transformers.BertModel(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    return folder


@pytest.fixture(scope="session")
def tiny_bank():
    """A tiny random base with an adapter for each topic."""
    bank = Bank(Base(tiny_model(), tiny_tokenizer(), "tiny", "0"))
    for seed, name in enumerate(VERBS):
        bank.add(name, "lora", Config(lora_r=2), seed=seed)
        for parameter in bank.parameters(name).values():
            torch.nn.init.normal_(parameter, std=0.1)
    return bank
