"""Combined adapters against PEFT's add_weighted_adapter on the whole model, for every method."""

import sys

import pytest
import torch
from peer import TARGETS, close, fill, plain_logits, some_ids, tiny_base
from peft import PeftModel
from tiny import tiny_model

from tenfold import plugins
from tenfold.adapters import Bank
from tenfold.adapters.combining import METHODS, ON_FACTORS, ON_PRODUCTS, Recipe, combine
from tenfold.errors import AdapterError, MissingExtraError
from tenfold.store import card, load, save

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
WEIGHTS = {"a": 0.75, "b": -0.5, "c": 1.25}
PARTS = tuple(WEIGHTS.items())
SEED = 11


def recipe(method, **settings):
    prunes = any(word in method for word in ("ties", "dare", "prune"))
    return Recipe(method, **{"density": 0.6 if prunes else None, "seed": SEED, **settings})


def bank_of(family, settings):
    """A bank with filled adapters of these LoRA settings."""
    bank = Bank(tiny_base(family))
    for seed, (name, own) in enumerate(settings.items()):
        bank.add(name, "lora", plugins.find("tenfold.adapters", "lora").Config(**own), seed=seed)
        fill(bank.parameters(name).values(), seed)
    return bank


def peft_s(bank, family, folder, how, names="abc"):
    """PEFT's model with the same adapters, and "combined" made by PEFT of them."""
    for name in names:
        save(bank, name, folder / name, card.describe(bank.base))
    theirs = PeftModel.from_pretrained(tiny_model(family), folder / names[0], adapter_name=names[0])
    for name in names[1:]:
        theirs.load_adapter(folder / name, name)
    torch.manual_seed(how.seed)
    theirs.add_weighted_adapter(
        list(names), [WEIGHTS[name] for name in names], "combined", combination_type=how.method, svd_rank=how.rank,
        density=how.density, majority_sign_method=how.majority_sign_method,
    )  # fmt: skip
    theirs.set_adapter("combined")
    return theirs.eval()


def compare(bank, theirs):
    """The combined adapter's numbers and its logits are PEFT's."""
    for layer, part in bank.get("combined").modules.items():
        host = theirs.base_model.model.get_submodule(layer)
        assert torch.equal(part.a, host.lora_A["combined"].weight)
        assert torch.equal(part.b, host.lora_B["combined"].weight)
        assert part.scale == host.scaling["combined"] == 1
    hosts = [name for name, module in theirs.named_modules() if "combined" in getattr(module, "lora_A", {})]
    assert len(hosts) == len(bank.get("combined").modules)
    with torch.no_grad():
        close(plain_logits(bank, some_ids(), "combined"), theirs(input_ids=some_ids()).logits)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("method", METHODS)
def test_it_is_what_peft_computes(method, family, tmp_path):
    bank = bank_of(family, {"a": {"lora_alpha": 3}, "b": {"lora_alpha": 16}, "c": {"lora_alpha": 7}})
    combine(bank, "combined", PARTS, recipe(method))
    compare(bank, peft_s(bank, family, tmp_path, recipe(method)))


@pytest.mark.parametrize("method", [method for method in METHODS if "ties" in method])
def test_signs_by_count(method, tmp_path):
    how = recipe(method, majority_sign_method="frequency")
    bank = bank_of("llama", {name: {"lora_r": 4} for name in "abc"})
    combine(bank, "combined", PARTS, how)
    compare(bank, peft_s(bank, "llama", tmp_path, how))
    combine(bank, "other", PARTS, recipe(method))
    pairs = zip(bank.parameters("combined").values(), bank.parameters("other").values(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


RANKS = [("cat", None), *((method, rank) for method in ON_PRODUCTS for rank in (None, 3, 12))]


@pytest.mark.parametrize(("method", "rank"), RANKS)
def test_ranks_of_all_sizes(method, rank, tmp_path):
    how = recipe(method, rank=rank)
    bank = bank_of("llama", {"a": {"lora_r": 2, "lora_alpha": 3}, "b": {"lora_r": 7}, "c": {"lora_r": 4}})
    made = combine(bank, "combined", PARTS, how)
    assert made.config.lora_r == (13 if method == "cat" else rank or 7)
    compare(bank, peft_s(bank, "llama", tmp_path, how))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("method", METHODS)
def test_layers_that_only_some_have(method, family, tmp_path):
    few = TARGETS[family]
    settings = {"a": few[:1], "b": few[1:], "c": few}
    bank = bank_of(family, {name: {"lora_r": 4, "lora_target_modules": names} for name, names in settings.items()})
    made = combine(bank, "combined", PARTS, recipe(method))
    assert list(made.modules) == list(bank.get("c").modules)
    compare(bank, peft_s(bank, family, tmp_path, recipe(method)))


@pytest.mark.parametrize("method", METHODS)
def test_peft_reads_the_result(method, tmp_path):
    bank = bank_of("llama", {name: {"lora_r": 4} for name in "abc"})
    combine(bank, "combined", PARTS, recipe(method))
    save(bank, "combined", tmp_path / "made", card.describe(bank.base))
    theirs = PeftModel.from_pretrained(tiny_model(), tmp_path / "made").eval()
    load(bank, tmp_path / "made", "again")
    wanted = plain_logits(bank, some_ids(), "combined")
    assert torch.equal(plain_logits(bank, some_ids(), "again"), wanted)
    with torch.no_grad():
        close(wanted, theirs(input_ids=some_ids()).logits)


def test_exact_methods_are_the_weighted_sum_rank_stabilised_or_not():
    """PEFT 0.21 multiplies such a result by sqrt(R) once more."""
    for stable in (False, True):
        bank = bank_of("llama", {name: {"lora_r": 3, "peft_use_rslora": stable} for name in "abc"})
        combine(bank, "cat", PARTS, recipe("cat"))
        combine(bank, "svd", PARTS, recipe("svd", rank=9))
        wanted = plain_logits(bank, some_ids(), *PARTS)
        for name in ("cat", "svd"):
            close(plain_logits(bank, some_ids(), name), wanted, 1e-4)


def test_rank_stabilised_numbers_are_pefts_too(tmp_path):
    bank = bank_of("llama", {name: {"lora_r": 3, "peft_use_rslora": True} for name in "abc"})
    theirs = peft_s(bank, "llama", tmp_path, recipe("linear"))
    for layer, part in combine(bank, "combined", PARTS, recipe("linear")).modules.items():
        host = theirs.base_model.model.get_submodule(layer)
        assert torch.equal(part.a, host.lora_A["combined"].weight)
        assert torch.equal(part.b, host.lora_B["combined"].weight)


def test_one_adapter_times_a_weight(tmp_path):
    bank = bank_of("llama", {"a": {"lora_r": 3}})
    combine(bank, "combined", PARTS[:1], recipe("linear"))
    close(plain_logits(bank, some_ids(), "combined"), plain_logits(bank, some_ids(), PARTS[0]), 1e-4)
    compare(bank, peft_s(bank, "llama", tmp_path, recipe("linear"), "a"))


def test_what_dare_drops_is_the_seed_s_and_nobody_else_s_numbers_move():
    bank = bank_of("llama", {name: {"lora_r": 3} for name in "abc"})
    before = torch.get_rng_state()
    for name, seed in ("one", 1), ("same", 1), ("two", 2):
        combine(bank, name, PARTS, recipe("dare_linear", seed=seed))
    assert torch.equal(torch.get_rng_state(), before)
    one, same, two = (list(bank.parameters(name).values()) for name in ("one", "same", "two"))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, two, strict=True))


RECIPES = {
    "method 'tie': must be cat, .* did you mean 'ties'": Recipe("tie"),
    "rank 0: must be at least 1": Recipe(rank=0),
    "rank 8: cat has none to choose": Recipe("cat", rank=8),
    "rank 33: model.layers.0.self_attn.q_proj is 32 by 32; at most 32|rank 33: .* at most 16": Recipe(rank=33),
    "density None: ties needs one above 0": Recipe("ties"),
    "density 0: dare_linear needs": Recipe("dare_linear", density=0),
    "density 1.5: magnitude_prune needs": Recipe("magnitude_prune", density=1.5),
    "density nan: ties_svd needs": Recipe("ties_svd", density=float("nan")),
    "density 0.5: svd keeps every number": Recipe(density=0.5),
    "majority_sign_method 'most': must be total or frequency": Recipe("ties", density=0.5, majority_sign_method="most"),
}


@pytest.mark.parametrize("said", RECIPES)
def test_bad_settings_are_one_line(said):
    bank = bank_of("llama", {name: {"lora_r": 3} for name in "ab"})
    with pytest.raises(AdapterError, match=said) as raised:
        combine(bank, "x", PARTS[:2], RECIPES[said])
    assert "\n" not in str(raised.value)
    assert list(bank.adapters) == ["a", "b"]


def test_bad_parts_are_one_line():
    bank = bank_of("llama", {"a": {"lora_r": 3}, "b": {"lora_r": 4}})
    bank.add("d", "dora", plugins.find("tenfold.adapters", "dora").Config())
    wrong = {
        "svd combines two adapters or more; 1 given": ((("a", 1.0),), "svd"),
        "linear combines two adapters or more; 0 given": ((), "linear"),
        "'a' is given twice": ((("a", 1.0), ("a", 2.0)), "svd"),
        "weight inf of 'b': must be a finite number": ((("a", 1.0), ("b", float("inf"))), "svd"),
        "no adapter 'e' in the bank": ((("a", 1.0), ("e", 1.0)), "svd"),
        "'d' is dora; only lora": ((("a", 1.0), ("d", 1.0)), "svd"),
        **{
            f"{method} needs adapters of one lora_r, these have 3, 4": ((("a", 1.0), ("b", 1.0)), method)
            for method in ON_FACTORS
        },
    }
    for said, (parts, method) in wrong.items():
        with pytest.raises(AdapterError, match=said):
            combine(bank, "x", parts, recipe(method))
    assert list(bank.adapters) == ["a", "b", "d"]


def test_without_peft_one_line_says_what_to_install(monkeypatch):
    bank = bank_of("llama", {name: {"lora_r": 3} for name in "ab"})
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"combining adapters needs peft: pip install 'tenfold\[peft\]'"):
        combine(bank, "x", PARTS[:2], recipe("svd"))
