"""Sampling: transformers' distribution, and random numbers that belong to the request alone."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from worlds import COMPOSITIONS, prompts, tiny_bank

from tenfold.errors import ConfigError
from tenfold.generate import Engine, Request, Sampling
from tenfold.generate.sampler import distribution, draw


@pytest.mark.parametrize("few", [1, 6, 1024])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("top_k", [0, 1, 7, 500])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.95, 1.0])
def test_distribution_is_transformers(temperature, top_k, top_p, few, monkeypatch):
    monkeypatch.setattr("tenfold.generate.sampler.FEW", few)
    logits = torch.randn(97) * 3
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    truth = LogitsProcessorList(warpers)(None, logits[None].double())[0].softmax(-1)
    tokens, weights = distribution(logits, Sampling(temperature, top_k, top_p))
    found = torch.zeros(97, dtype=torch.float64).index_add_(0, tokens, weights / weights.sum())
    assert torch.allclose(found, truth, atol=1e-9)


def test_draws_follow_the_distribution():
    logits, sampling = torch.tensor([2.0, 0.0, 1.0, -1.0]), Sampling(1.0)
    generator = torch.Generator().manual_seed(0)
    counts = torch.bincount(torch.tensor([draw(logits, sampling, generator) for _ in range(4000)]), minlength=4)
    assert torch.allclose(counts / 4000, logits.softmax(0), atol=0.03)


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_a_request_draws_the_same_in_any_company(family):
    bank = tiny_bank(family)
    requests = [
        Request(p, COMPOSITIONS[i % 4], 12, Sampling(0.8, top_k=(0, 20)[i % 2], top_p=(1.0, 0.9)[i % 3 > 0], seed=i))
        for i, p in enumerate(prompts(8))
    ]
    together = Engine(bank).generate(requests)
    apart = [Engine(bank).generate([request])[0] for request in requests]
    assert together == apart
    assert together == Engine(bank, max_rows=3).generate(requests[::-1])[::-1]


def test_seeds_differ_and_global_numbers_are_left_alone():
    bank, prompt = tiny_bank(), prompts(1)[0]
    before = torch.get_rng_state()
    answers = Engine(bank).generate([Request(prompt, (), 12, Sampling(1.0, seed=seed)) for seed in range(6)])
    assert len({tuple(a.tokens) for a in answers}) == 6
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"temperature": -1.0}, "temperature: -1.0"), ({"temperature": float("nan")}, "temperature: nan"),
     ({"top_p": 0.0}, "top_p: 0.0"), ({"top_k": -2}, "top_k: -2"), ({"seed": -1}, "seed: -1")],
)  # fmt: skip
def test_values_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**settings)
