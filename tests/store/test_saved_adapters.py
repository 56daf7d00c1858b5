"""Saving and loading: bit for bit, whole or not at all, and misfits refused on one line, the bank untouched."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peer import fill, plain_logits, some_ids, tiny_bank, tiny_base
from safetensors.torch import load_file, save_file

from tenfold.adapters import Bank
from tenfold.errors import AdapterError, RunError
from tenfold.store import Card, card, load, save

A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
SETTINGS, TENSORS, CARD = "adapter_config.json", "adapter_model.safetensors", "card.json"


@pytest.fixture
def saved(tmp_path):
    bank = tiny_bank("llama", "a")
    save(bank, "a", tmp_path / "a", card.describe(bank.base, task="dates"))
    return tmp_path / "a"


def change(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def change_tensors(folder, change):
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)


def refused(folder, *words, base=None):
    """The message of the refusal: one line that says the folder; nothing was added."""
    bank = Bank(base or tiny_base())
    names = set(bank.base.model.state_dict())
    with pytest.raises(AdapterError) as error:
        load(bank, folder)
    message = str(error.value)
    assert "\n" not in message
    assert str(folder) in message
    assert all(word in message for word in words), message
    assert not bank.adapters
    assert not bank._hosts
    assert set(bank.base.model.state_dict()) == names


def test_the_round_trip_is_bit_for_bit(saved):
    first, second = tiny_bank("llama", "a"), Bank(tiny_base())
    load(second, saved)
    for key, value in first.parameters("a").items():
        assert torch.equal(value, second.parameters("a")[key])
    assert second.get("a").config == first.get("a").config
    assert torch.equal(plain_logits(first, some_ids(), "a"), plain_logits(second, some_ids(), "a"))


def test_a_folder_by_a_relative_path(saved, monkeypatch):
    monkeypatch.chdir(saved)
    assert load(Bank(tiny_base()), Path()) == "a"


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    bank = Bank(tiny_base())
    load(bank, saved)
    save(bank, "a", tmp_path / "b", card.describe(bank.base))
    for name in SETTINGS, TENSORS:
        assert (tmp_path / "b" / name).read_bytes() == (saved / name).read_bytes()


def test_a_saved_adapter_can_be_replaced_while_it_is_loaded(saved):
    bank = Bank(tiny_base())
    load(bank, saved)
    before = bank.parameters("a")["model.layers.0.self_attn.q_proj.a"].clone()
    fill(bank.parameters("a").values(), seed=7)
    save(bank, "a", saved, card.describe(bank.base))
    load(bank, saved, "again")
    after = bank.parameters("again")["model.layers.0.self_attn.q_proj.a"]
    assert torch.equal(after, bank.parameters("a")["model.layers.0.self_attn.q_proj.a"])
    assert not torch.equal(after, before)
    assert [path.name for path in saved.parent.iterdir()] == ["a"]


def test_the_card_says_what_it_was_made_for(saved):
    found = card.read(saved)
    assert (found.task, found.base_model, found.fingerprint) == ("dates", "tiny/llama", "fingerprint of llama 0")
    assert found.quantisation is None


def test_a_newer_card_keeps_its_keys(saved):
    change(saved / CARD, invented={"later": 1})
    assert card.read(saved).model_dump()["invented"] == {"later": 1}
    load(Bank(tiny_base()), saved)


def test_another_base_is_refused(saved):
    refused(saved, "'tiny/llama'", "fingerprint of llama 1"[:12], base=tiny_base(seed=1))


def test_without_a_card_only_the_shapes_count(saved):
    (saved / CARD).unlink()
    change(saved / SETTINGS, base_model_name_or_path="someone/else")
    load(Bank(tiny_base(seed=1)), saved)
    refused(saved, "missing", base=three_layers())


def three_layers():
    base = tiny_base()
    base.model.model.layers.append(base.model.model.layers[0].__class__(base.model.config, 2))
    return base


def test_missing_tensors(saved):
    change_tensors(saved, lambda tensors: tensors.pop(A))
    refused(saved, f"tensor '{A}' is missing")


def test_surplus_tensors(saved):
    change_tensors(saved, lambda tensors: tensors.update({"base_model.model.lm_head.weight": torch.zeros(2)}))
    refused(saved, "tensor 'base_model.model.lm_head.weight' is surplus")


def test_wrong_shapes(saved):
    change_tensors(saved, lambda tensors: tensors.update({A: torch.zeros(4, 33)}))
    refused(saved, A, "(4, 33)", "(4, 32)")


def test_another_rank_than_the_settings(saved):
    change(saved / SETTINGS, r=5)
    refused(saved, "(4, 32)", "(5, 32)")


def test_numbers_that_are_no_floats(saved):
    change_tensors(saved, lambda tensors: tensors.update({A: torch.zeros(4, 32, dtype=torch.int8)}))
    refused(saved, A, "I8", "F32")


def test_a_pickle_is_refused_unread(saved):
    (saved / TENSORS).unlink()
    (saved / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    refused(saved, "adapter_model.bin", "pickle", TENSORS)


@pytest.mark.parametrize("name", [SETTINGS, TENSORS, CARD])
def test_torn_files(saved, name):
    whole = (saved / name).read_bytes()
    for size in 0, 5, len(whole) // 2, len(whole) - 3:
        (saved / name).write_bytes(whole[:size])
        refused(saved, name)


@pytest.mark.parametrize("name", [SETTINGS, TENSORS])
def test_missing_files(saved, name):
    (saved / name).unlink()
    refused(saved, name)


def test_a_folder_that_is_not_there(tmp_path):
    refused(tmp_path / "nothing", "No such file")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"[" * 100_000, "recursion"), (b"[]", "object"), (b"\xff\xfe", "JSON"), (b'{"r": NaN}', "JSON")],
)
def test_strange_json(saved, content, word):
    (saved / SETTINGS).write_bytes(content)
    refused(saved, SETTINGS, word)


def test_huge_json(saved):
    with (saved / SETTINGS).open("wb") as file:
        file.truncate(1 << 40)  # a hole: takes no room
    refused(saved, SETTINGS, "MiB")


STRANGE = {
    "peft_type": ("PROMPT_TUNING", "'PROMPT_TUNING'", "known: BOTTLENECK, FFF, FULL, IA3, LORA"),
    "r": (0, "lora_r", "0"),
    "lora_alpha": ("high", "lora_alpha", "'high'"),
    "lora_dropout": (1.5, "lora_dropout", "1.5"),
    "target_modules": (None, "target_modules"),
    "layers_to_transform": ("first", "layers_to_transform"),
    "alora_invocation_tokens": ([1], "alora_invocation_tokens"),
    "something_new": (True, "something_new = True is not supported"),
}


@pytest.mark.parametrize("key", STRANGE)
def test_strange_settings(saved, key):
    value, *words = STRANGE[key]
    change(saved / SETTINGS, **{key: value})
    refused(saved, *words)


@pytest.mark.parametrize("rank", [10**12, 10**30])
def test_an_absurd_rank_allocates_nothing(saved, rank):
    change(saved / SETTINGS, r=rank)
    refused(saved, str(rank))


def test_a_key_that_is_missing(saved):
    settings = json.loads((saved / SETTINGS).read_text())
    del settings["r"]
    (saved / SETTINGS).write_text(json.dumps(settings))
    refused(saved, "'r' is missing")


@pytest.mark.parametrize("targets", ["nothing", ["nothing"], [], "model.layers", "(", "lm_head", ["embed_tokens"]])
def test_targets_that_mean_nothing_here(saved, targets):
    change(saved / SETTINGS, target_modules=targets)
    refused(saved, "target")


def test_a_pattern_that_never_ends_is_stopped(saved):
    change(saved / SETTINGS, target_modules=r"(.|.)+[A-Z]")
    refused(saved, "target_modules", "timed out")


def test_a_name_in_use_leaves_its_adapter(saved):
    bank = tiny_bank("llama", "a", lora_target_modules=["q_proj"])
    before = bank.get("a")
    with pytest.raises(AdapterError, match="'a' is in the bank already"):
        load(bank, saved)
    assert bank.get("a") is before
    assert set(bank._hosts) == set(before.modules)


def test_a_name_that_is_not_in_the_bank(saved):
    bank = tiny_bank("llama", "b")
    with pytest.raises(AdapterError, match="no adapter 'a' in the bank; there are: b"):
        save(bank, "a", saved, card.describe(bank.base))
    load(bank, saved)


def test_a_file_in_the_way(tmp_path):
    bank = tiny_bank("llama", "a")
    (tmp_path / "a").write_text("mine")
    with pytest.raises(RunError, match=r"cannot write .*a: there is a file of that name"):
        save(bank, "a", tmp_path / "a", card.describe(bank.base))
    assert (tmp_path / "a").read_text() == "mine"


def test_a_card_without_what_it_must_have(saved):
    (saved / CARD).write_text("{}")
    refused(saved, CARD, "tenfold: Field required")


def test_metrics_that_are_no_numbers_can_be_read_again(saved):
    bank = Bank(tiny_base())
    load(bank, saved)
    shutil.rmtree(saved)
    save(bank, "a", saved, card.describe(bank.base, metrics={"loss": float("nan"), "bleu": 3.5}))
    found = card.read(saved)
    assert isinstance(found, Card)
    assert found.metrics == {"loss": None, "bleu": 3.5}
