import time

import pytest
import torch
from tiny import FAMILIES, tiny_model

from tenfold.base.fingerprint import SAMPLE, fingerprint


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_for_every_float_type_that_holds_the_checkpoint(family):
    model = tiny_model(family)
    known = fingerprint(model)
    assert fingerprint(model.to(torch.bfloat16)) == known
    assert fingerprint(model.to(torch.float32)) == known


def test_fp16_agrees_on_a_bf16_checkpoint():
    model = tiny_model().to(torch.bfloat16)
    known = fingerprint(model)
    assert fingerprint(model.to(torch.float16)) == known


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
def test_any_tensor_that_moves_is_seen(family):
    model = tiny_model(family)
    known = fingerprint(model)
    seen = set()
    for parameter in model.parameters():
        before = parameter.clone()
        parameter.add_(1e-2 * torch.randn_like(parameter))
        seen.add(fingerprint(model))
        parameter.copy_(before)
    assert known not in seen
    assert len(seen) == len(list(model.parameters()))
    assert fingerprint(model) == known


def test_one_small_step_of_training_is_seen():
    model = tiny_model("llama").requires_grad_(True)
    known = fingerprint(model)
    optimizer = torch.optim.AdamW(model.model.layers[1].self_attn.q_proj.parameters(), lr=1e-5)
    ids = torch.arange(3, 40)[None]
    model(ids, labels=ids).loss.backward()
    optimizer.step()
    assert fingerprint(model) != known


def test_names_and_shapes_count():
    weights = torch.arange(12.0)
    plain = torch.nn.ParameterDict({"a": weights.reshape(3, 4)})
    assert fingerprint(plain) != fingerprint(torch.nn.ParameterDict({"b": weights.reshape(3, 4)}))
    assert fingerprint(plain) != fingerprint(torch.nn.ParameterDict({"a": weights.reshape(4, 3)}))


def test_tied_weights_count_once():
    model = torch.nn.ParameterDict({"a": torch.ones(3)})
    known = fingerprint(model)
    model["b"] = model["a"]
    assert fingerprint(model) == known


def test_large_tensors_are_sampled_from_end_to_end():
    weights = torch.zeros(SAMPLE * 10 + 3)
    known = fingerprint(torch.nn.ParameterDict({"a": weights}))
    for place in (0, -1):
        changed = weights.clone()
        changed[place] = 1
        assert fingerprint(torch.nn.ParameterDict({"a": changed})) != known


def test_empty_and_scalar_parameters():
    assert fingerprint(torch.nn.ParameterDict({"a": torch.zeros(0), "b": torch.tensor(1.0)}))


@pytest.mark.real
def test_fast_on_the_real_model(smollm2):
    fingerprint(smollm2.model)
    start = time.perf_counter()
    assert fingerprint(smollm2.model) == smollm2.fingerprint
    assert time.perf_counter() - start < 1  # 0.04 s alone; the machine may be shared
