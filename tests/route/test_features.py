"""Embeddings and hidden states beside the plain models."""

import threading

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from tenfold.base.encoders import load_encoder
from tenfold.route.features.hidden import Features
from tenfold.route.memory import Memory, remembering

TEXTS = ["bake the onion", "a", "rain and snow and a cold wind over the hills " * 3]


def test_an_embedding_is_the_plain_models_mean(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))
    assert (encoder.pooling, encoder.longest) == ("mean", 64)
    model, tokenizer = AutoModel.from_pretrained(tiny_encoder).eval(), AutoTokenizer.from_pretrained(tiny_encoder)
    found = encoder.embed(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            given = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
            states = model(**given).last_hidden_state[0]
        assert torch.allclose(row, torch.nn.functional.normalize(states.mean(0), dim=-1), atol=1e-5)


def test_every_pooling_beside_one_row_alone(tiny_encoder):
    ways = {"cls": lambda s: s[0], "last": lambda s: s[-1], "max": lambda s: s.amax(0), "mean": lambda s: s.mean(0)}
    plain = load_encoder(str(tiny_encoder))
    for name, way in ways.items():
        encoder = type(plain)("x", plain.model, plain.tokenizer, name, plain.longest)
        for text, row in zip(TEXTS, encoder.pool(TEXTS), strict=True):
            given = plain.tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
            assert torch.allclose(row, way(plain.model(**given).last_hidden_state[0]), atol=1e-5), name


def test_hidden_states_are_those_of_each_text_alone(tiny_bank):
    base = tiny_bank.base
    raw = Features(tiny_bank, np.zeros(32, np.float32))
    found = raw.states(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        ids = torch.tensor([base.tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            states = base.model.model(ids).last_hidden_state[0]
        assert np.allclose(row, torch.nn.functional.normalize(states.mean(0), dim=-1).numpy(), atol=1e-4)


def test_rows_are_remembered_only_within_a_block():
    asked = []

    def make(texts):
        asked.append(list(texts))
        return np.array([[len(text)] for text in texts], np.float32)

    memory = Memory()
    memory.rows(["a", "bb"], make)
    memory.rows(["a"], make)
    with remembering():
        assert memory.rows(["a", "bb"], make).ravel().tolist() == [1, 2]
        assert memory.rows(["bb", "ccc", "bb"], make).ravel().tolist() == [2, 3, 2]
    memory.rows(["a"], make)
    assert asked == [["a", "bb"], ["a"], ["a", "bb"], ["ccc"], ["a"]]
    assert not memory.known


def test_a_thread_remembers_for_itself():
    memory, asked = Memory(), []

    def make(texts):
        asked.append(list(texts))
        return np.zeros((len(texts), 1), np.float32)

    def ask():
        memory.rows(["a"], make)

    with remembering():
        ask()
        other = threading.Thread(target=ask)
        other.start()
        other.join()
        ask()
    assert asked == [["a"], ["a"]]
