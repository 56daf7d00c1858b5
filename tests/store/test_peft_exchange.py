"""Adapters go both ways between us and PEFT, on several families, with the same logits and gradients."""

import json

import peft
import pytest
import torch
from peer import FEW, TARGETS, close, fill, plain_logits, some_ids, some_rows, tiny_bank, tiny_base
from peft import LoraConfig, PeftModel, get_peft_model
from tiny import tiny_model

from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.adapters.targets import linear_layers
from tenfold.store import card, load, save

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def peft_adapter(family, folder, seed=5, **settings):
    """A random adapter that PEFT made and saved, and the model that it sits on."""
    settings = {"r": 3, "lora_alpha": 7, "target_modules": TARGETS[family], "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(tiny_model(family), LoraConfig(**settings))
    fill([p for n, p in model.named_parameters() if "lora_" in n], seed)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("family", FEW)
@pytest.mark.parametrize("settings", [{}, {"peft_use_rslora": True}], ids=["lora", "rslora"])
@pytest.mark.parametrize("everywhere", [True, False], ids=["all", "few"])
def test_peft_loads_ours(family, settings, everywhere, tmp_path):
    targets = None if everywhere else TARGETS[family]
    bank = tiny_bank(family, "a", lora_target_modules=targets, **settings)
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    theirs = PeftModel.from_pretrained(tiny_model(family), tmp_path / "a").eval()
    ours, ids = plain_logits(bank, some_ids(), "a"), some_ids()
    with torch.no_grad():
        close(ours, theirs(input_ids=ids).logits)
    assert (ours - plain_logits(bank, ids)).abs().max() > 0.01


def test_peft_loads_one_of_ours_that_sits_on_single_layers(tmp_path):
    names = ["model.layers.1.self_attn.q_proj", "model.layers.0.mlp.up_proj"]
    bank = tiny_bank("llama", "a", lora_target_modules=names)
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    theirs = PeftModel.from_pretrained(tiny_model(), tmp_path / "a").eval()
    assert sorted(json.loads((tmp_path / "a/adapter_config.json").read_text())["target_modules"]) == sorted(names)
    with torch.no_grad():
        close(plain_logits(bank, some_ids(), "a"), theirs(input_ids=some_ids()).logits)


VARIANTS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "one layer": {"layers_to_transform": 1},
    "some layers": {"layers_to_transform": [0]},
    "everything": {"target_modules": "all-linear"},
    "regex": {"target_modules": r".*\.1\..*(q_proj|c_attn|query_key_value|gate_proj)"},
}


@pytest.mark.parametrize("family", FEW)
@pytest.mark.parametrize("variant", VARIANTS)
def test_we_load_theirs(family, variant, tmp_path):
    theirs = peft_adapter(family, tmp_path / "given", **VARIANTS[variant])
    bank = Bank(tiny_base(family))
    assert load(bank, tmp_path / "given") == "given"
    with torch.no_grad():
        close(plain_logits(bank, some_ids(), "given"), theirs(input_ids=some_ids()).logits)


def test_layers_by_pattern(tmp_path):
    theirs = peft_adapter("llama", tmp_path / "a", layers_to_transform=[1], layers_pattern="layers")
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a", "mine")
    assert all(name.startswith("model.layers.1.") for name in bank.get("mine").modules)
    with torch.no_grad():
        close(plain_logits(bank, some_ids(), "mine"), theirs(input_ids=some_ids()).logits)


def test_all_linear_written_by_hand_means_what_it_means_to_peft(tmp_path):
    peft_adapter("gpt2", tmp_path, target_modules="all-linear")
    settings = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"target_modules": "all-linear"}))
    bank = Bank(tiny_base("gpt2"))
    load(bank, tmp_path, "a")
    assert list(bank.get("a").modules) == list(linear_layers(bank.base.model))


def test_half_precision_files_load_as_float32(tmp_path):
    model = peft_adapter("llama", tmp_path / "a")
    model.bfloat16().save_pretrained(tmp_path / "a")
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a")
    assert {p.dtype for p in bank.parameters("a").values()} == {torch.float32}
    truth = model.base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"].weight
    assert torch.equal(bank.parameters("a")["model.layers.0.self_attn.q_proj.a"], truth.float())


def test_what_peft_trains_further_comes_back(tmp_path):
    bank = tiny_bank("llama", "a")
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    theirs = PeftModel.from_pretrained(tiny_model(), tmp_path / "a", is_trainable=True)
    fill([p for p in theirs.parameters() if p.requires_grad], seed=9)
    theirs.save_pretrained(tmp_path / "b")
    load(bank, tmp_path / "b")
    with torch.no_grad():
        close(plain_logits(bank, some_ids(), "b"), theirs.eval()(input_ids=some_ids()).logits)


REFUSED = {
    "rank_pattern": {"rank_pattern": {"q_proj": 2}},
    "lora_bias": {"lora_bias": True},
    "bias": {"bias": "lora_only"},
    "init_lora_weights": {"init_lora_weights": "pissa"},
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_we_would_compute_differently_is_refused(key, tmp_path):
    peft_adapter("llama", tmp_path / "a", **REFUSED[key])
    bank = Bank(tiny_base())
    with pytest.raises(ValueError, match=rf"a: adapter_config.json: {key} = .* is not supported"):
        load(bank, tmp_path / "a")
    assert not bank.adapters


def test_an_adapter_on_the_head_is_refused(tmp_path):
    peft_adapter("llama", tmp_path / "a", target_modules=["q_proj", "lm_head"])
    with pytest.raises(ValueError, match="target 'lm_head' is no linear layer that can hold an adapter"):
        load(Bank(tiny_base()), tmp_path / "a")


def test_gradients_are_pefts(tmp_path):
    """A padded batch through PEFT, the same rows packed through us."""
    from peer import gradients, packed_loss

    for family in FEW:
        theirs = peft_adapter(family, tmp_path / family)
        bank, rows = Bank(tiny_base(family)), some_rows(9, 14, 6)
        load(bank, tmp_path / family, "a")
        sums = packed_loss(bank, [rows], [(("a", 1.0),)])
        loss = padded_loss(theirs, rows)
        loss.backward()
        close(sums.sum(), loss.detach())
        for key, found in gradients(bank, "a").items():
            layer, _, ab = key.rpartition(".")
            module = theirs.base_model.model.get_submodule(layer)
            close(found, getattr(module, f"lora_{ab.upper()}")["default"].weight.grad, 2e-5)


def padded_loss(model, rows):
    width = max(len(row.tokens) for row in rows)
    ids, labels, mask = torch.zeros(3, len(rows), width, dtype=torch.long).unbind()
    labels = labels - 100
    for i, row in enumerate(rows):
        n = len(row.tokens)
        ids[i, :n], mask[i, :n] = torch.tensor(row.tokens), 1
        labels[i, :n] = torch.tensor([t if s else -100 for t, s in zip(row.tokens, row.supervised, strict=True)])
    logits = model(input_ids=ids, attention_mask=mask).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


def test_weighted_sums_are_pefts(tmp_path):
    """Concatenation is what PEFT calls the exact weighted sum of updates."""
    theirs = peft_adapter("llama", tmp_path / "a", seed=1)
    peft_adapter("llama", tmp_path / "b", seed=2, r=5, lora_alpha=3)
    theirs.load_adapter(tmp_path / "b", "b")
    theirs.add_weighted_adapter(["default", "b"], [0.75, 0.5], "both", combination_type="cat")
    theirs.set_adapter("both")
    bank = Bank(tiny_base())
    for name in "ab":
        load(bank, tmp_path / name)
    with torch.no_grad():
        close(plain_logits(bank, some_ids(), ("a", 0.75), ("b", 0.5)), theirs(input_ids=some_ids()).logits)


def test_the_config_is_one_that_peft_reads(tmp_path):
    bank = tiny_bank("gpt2", "a", lora_dropout=0.25, lora_alpha=5.0)
    save(bank, "a", tmp_path / "a", card.describe(bank.base))
    config = peft.PeftConfig.from_pretrained(tmp_path / "a")
    assert (config.r, config.lora_alpha, config.lora_dropout, config.fan_in_fan_out) == (4, 5, 0.25, True)
    assert (config.base_model_name_or_path, config.task_type) == ("tiny/gpt2", "CAUSAL_LM")
    assert Config(lora_r=4, lora_alpha=5, lora_dropout=0.25).scale == config.lora_alpha / config.r
