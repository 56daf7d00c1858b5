"""Adapters with embeddings or a head of their own, against PEFT's ``modules_to_save``, and mixed with others."""

import peft
import pytest
import torch
import torch.nn.functional as F
from peer import close, fill, some_rows, tiny_base
from tiny import tiny_model

from tenfold.adapters import BASE, Bank, compose, copies
from tenfold.adapters.lora import Config
from tenfold.adapters.merging import merged
from tenfold.base.layout import Row
from tenfold.base.quantize import Quantization, quantize
from tenfold.errors import AdapterError
from tenfold.generate import Engine, Request, score
from tenfold.store import card, load, save
from tenfold.training import passes
from tenfold.training.passes import Part

MODULES = [["lm_head"], ["embed_tokens"], ["embed_tokens", "lm_head"], ["norm"]]
FAMILIES = ["llama", "gemma2", "granite"]


def bank_with(family, **modules):
    bank = Bank(tiny_base(family, tie_word_embeddings=False))
    for seed, (name, own) in enumerate(modules.items()):
        bank.add(name, "lora", Config(lora_r=4), seed=seed, copies=copies.new_copies(bank.base, own))
        fill([p for key, p in bank.parameters(name).items() if key.endswith((".a", ".b"))], seed)
        with torch.no_grad():
            for copy in bank.get(name).copies.values():
                for parameter in copy.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * 0.3)
    return bank


def theirs(bank, family, name, folder):
    save(bank, name, folder, card.describe(bank.base))
    return peft.PeftModel.from_pretrained(
        tiny_model(family, tie_word_embeddings=False), folder, is_trainable=True
    ).eval()


def their_loss(model, rows):
    found = []
    for row in rows:
        ids = torch.tensor([row.tokens])
        logits = model(input_ids=ids).logits[0]
        each = F.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
        found.append((each * torch.tensor(row.supervised[1:])).sum())
    return torch.stack(found)


@pytest.mark.parametrize("modules", MODULES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_peft_s_in_a_mixed_pass(family, modules, tmp_path):
    bank = bank_with(family, a=modules, b=["lm_head"], c=[])
    rows, others = some_rows(9, 12, 5), some_rows(6, 8, seed=2)
    for name in "abc":
        for parameter in bank.parameters(name).values():
            parameter.requires_grad_()
    parts = [Part(0, compose("c"), others, 1.0), Part(1, compose("a"), rows, 1.0), Part(2, compose("b"), others, 1.0)]
    found = passes.run(bank, parts).losses
    for lane, (name, own) in {1: ("a", rows), 2: ("b", others), 0: ("c", others)}.items():
        peer = theirs(bank, family, name, tmp_path / name)
        wanted = their_loss(peer, own).sum()
        assert found[lane] == pytest.approx(float(wanted), rel=1e-4)
        wanted.backward()
        their = {n: p.grad for n, p in peer.named_parameters() if p.grad is not None}
        for place, copy in bank.get(name).copies.items():
            for key, parameter in copy.named_parameters():
                close(parameter.grad, their[f"base_model.model.{place}.modules_to_save.default.{key}"], 1e-4)


@pytest.mark.parametrize("modules", MODULES, ids=str)
def test_scores_and_answers_are_those_of_each_alone(modules, tmp_path):
    bank = bank_with("llama", a=modules, b=["lm_head"])
    rows = [Row(row.tokens, row.supervised) for row in some_rows(9, 12, 5, 7)]
    items = [(row, composition) for row in rows for composition in (compose("a"), BASE, compose("b"))]
    found = torch.tensor([one.logprob for one in score(bank, items)])
    peers = {compose(name): theirs(bank, "llama", name, tmp_path / name) for name in "ab"}
    peers[BASE] = bank.base.model
    with torch.no_grad():
        wanted = torch.stack([-their_loss(peers[composition], [row])[0] for row, composition in items])
    close(found, wanted, 1e-4)
    requests = [Request(row.tokens, composition, 6) for row, composition in items]
    for request, answer in zip(requests, Engine(bank).generate(requests), strict=True):
        ids = torch.tensor([request.prompt])
        out = peers[request.composition].generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        assert answer.tokens == out[0, ids.shape[1] :].tolist()


def test_a_copy_changes_nothing_at_birth_and_survives_its_file_bit_for_bit(tmp_path):
    bank = Bank(tiny_base())
    bank.add("a", "lora", Config(), copies=copies.new_copies(bank.base, ["lm_head", "embed_tokens"]))
    rows = some_rows(9, 5)
    assert score(bank, [(row, compose("a")) for row in rows]) == score(bank, [(row, BASE) for row in rows])
    fill(bank.parameters("a").values())
    before = score(bank, [(row, compose("a")) for row in rows])
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    load(bank, tmp_path / "a", "b")
    assert score(bank, [(row, compose("b")) for row in rows]) == before
    assert bank.get("b").size == bank.get("a").size


def test_a_module_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(AdapterError, match=r"modules_to_save: 'lm_heat' matches no module .* did you mean 'lm_head'"):
        copies.new_copies(tiny_base(), ["lm_heat"])


def test_tied_weights_are_not_merged_apart():
    bank = Bank(tiny_base("llama", tie_word_embeddings=True))
    bank.add("a", "lora", Config(), copies=copies.new_copies(bank.base, ["embed_tokens"]))
    with (
        pytest.raises(AdapterError, match=r"its own model.embed_tokens would change .* and lm_head.weight too"),
        merged(bank, "a"),
    ):
        pass


def test_beside_a_base_in_few_bits_what_stays_floats_can_be_copied():
    bank = Bank(tiny_base(tie_word_embeddings=False))
    bank.base.quantization = Quantization("nf4")
    quantize(bank.base.model, bank.base.quantization, "cpu")
    bank.add("a", "lora", Config(), copies=copies.new_copies(bank.base, ["lm_head", "norm"]))
    rows = some_rows(9, 5)
    assert score(bank, [(row, compose("a")) for row in rows]) == score(bank, [(row, BASE) for row in rows])
    with pytest.raises(AdapterError, match=r"modules_to_save: model.layers.0.mlp is held in nf4 double; only floats"):
        copies.new_copies(bank.base, ["mlp"])
