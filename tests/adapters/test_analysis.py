"""What is said of adapters' changes against dense linear algebra, and against what is known beforehand."""

import math

import pytest
import torch
from peer import fill, tiny_base

from tenfold import plugins
from tenfold.adapters import Bank
from tenfold.adapters.analysis import analyse, changes_by_type, mean, overlaps_by_type
from tenfold.adapters.spectrum import factorise, shared
from tenfold.base.quantize import Quantization, matrix, quantize
from tenfold.errors import AdapterError

KINDS = ("lora", "dora", "ia3")
R = 4


def add(bank, name, kind="lora", seed=0, spread=0.1, **settings):
    found = plugins.find("tenfold.adapters", kind)
    installed = bank.add(name, kind, found.Config(**settings), seed=seed)
    if spread:
        fill(bank.parameters(name).values(), seed, spread)
    return installed


def dense(bank, name, layer):
    """W and dW of one layer, both formed, in float64."""
    weight = matrix(bank.base.model.get_submodule(layer)).float()
    with torch.no_grad():
        merged, _ = bank.get(name).modules[layer].merge(weight, None)
    return weight.double(), merged.double() - weight.double()


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_a_dense_svd(kind, family):
    bank = Bank(tiny_base(family))
    add(bank, "a", kind)
    found = analyse(bank, directions=R).changes
    assert [one.layer for one in found] == list(bank.get("a").modules)
    for one in found:
        weight, change = dense(bank, "a", one.layer)
        u, values, v = torch.linalg.svd(change, full_matrices=False)
        got = torch.tensor(one.values, dtype=torch.float64)
        torch.testing.assert_close(got, values[: len(got)], rtol=1e-4, atol=1e-5 * float(values[0]))
        assert float(values[len(got) :].sum()) < 1e-4 * float(values[0])  # nothing is left out
        norm, own = float(change.norm()), float(torch.linalg.svdvals(weight)[:R].norm())
        along = float((u[:, :R].T @ weight @ v[:R].T).norm())
        wanted = {
            "norm": norm, "relative": norm / float(weight.norm()), "stable_rank": norm**2 / float(values[0]) ** 2,
            "along": along, "along_own": own, "amplification": norm / along, "amplification_own": norm / own,
        }  # fmt: skip
        assert {key: getattr(one, key) for key in wanted} == pytest.approx(wanted, rel=1e-3)
        assert one.directions == R


@pytest.mark.parametrize("shape", [(40, 30, 5), (6, 30, 9), (30, 6, 9)])
def test_factors_give_the_product_s_own_spectrum(shape):
    from tenfold.adapters._base import LowRank

    rows, columns, rank = shape
    a, b = torch.randn(rank, columns), torch.randn(rows, rank)
    found = factorise(LowRank(a, b, 0.3))
    torch.testing.assert_close(found.left * found.values @ found.right, 0.3 * b @ a)
    torch.testing.assert_close(found.left.T @ found.left, torch.eye(len(found.values)), rtol=0, atol=1e-5)
    top = found.top(rank)
    assert len(top.values) == min(shape)
    assert top.left.shape[1] == top.right.shape[0] == min(shape)


def test_all_directions_of_a_low_rank_change_and_a_few_of_any_other():
    bank = Bank(tiny_base())
    for kind in KINDS:
        add(bank, kind, kind, **({"lora_r": 3} if kind == "lora" else {}))
    counts = {name: {one.directions for one in analyse(bank).changes if one.adapter == name} for name in KINDS}
    assert counts == {"lora": {3}, "dora": {8}, "ia3": {8}}
    assert {one.directions for one in analyse(bank, directions=2).changes} == {2}


def test_an_adapter_overlaps_with_itself_in_full():
    bank = Bank(tiny_base())
    for name in "ab":
        add(bank, name, lora_r=R)
    overlaps = analyse(bank).overlaps
    assert len(overlaps) == len(bank.get("a").modules)
    for one in overlaps:
        assert (one.written, one.read) == pytest.approx((1, 1), abs=1e-4)


def test_random_adapters_overlap_by_chance():
    bank = Bank(tiny_base())
    for seed in range(6):
        add(bank, str(seed), seed=seed, lora_r=R)
    overlaps = analyse(bank).overlaps
    assert len(overlaps) == 15 * len(bank.get("0").modules)
    for side in ("written", "read"):
        found, chance = (mean(getattr(one, key) for one in overlaps) for key in (side, f"{side}_by_chance"))
        assert found == pytest.approx(chance, rel=0.05)
        assert max(getattr(one, side) for one in overlaps) < 0.9


def test_overlaps_are_the_measure_written_out():
    bank = Bank(tiny_base())
    add(bank, "a", seed=1, lora_r=3)
    add(bank, "b", "dora", seed=2)
    for one in analyse(bank, directions=5).overlaps:
        (ua, _, va), (ub, _, vb) = (torch.linalg.svd(dense(bank, name, one.layer)[1]) for name in "ab")
        written = float((ua[:, :3].T @ ub[:, :5]).norm() ** 2) / 3
        read = float((va[:3] @ vb[:5].T).norm() ** 2) / 3
        assert (one.written, one.read) == pytest.approx((written, read), rel=1e-3)
        assert (one.written_by_chance, one.read_by_chance) == (5 / len(ua), 5 / len(va))


def test_a_space_within_another_is_shared_in_full():
    basis, _ = torch.linalg.qr(torch.randn(20, 9))
    assert shared(basis[:, :3], basis) == pytest.approx(1, abs=1e-5)
    assert shared(basis[:, :3], basis[:, 3:]) == pytest.approx(0, abs=1e-5)


def test_what_no_matrix_replaces_is_named_and_the_others_shown():
    bank = Bank(tiny_base())
    add(bank, "a")
    add(bank, "f", "fff")
    found = analyse(bank)
    assert found.refused == {"f": "no matrix does what fff does"}
    assert {one.adapter for one in found.changes} == {"a"}
    assert not found.overlaps


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_adapter_changed_nothing(kind):
    bank = Bank(tiny_base())
    for name in "ab":
        add(bank, name, kind, spread=0)
    found = analyse(bank)
    assert not found.overlaps
    for one in found.changes:
        assert one.directions == 0
        assert one.relative < 1e-6
        assert one.amplification is one.amplification_own is None


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_a_base_in_few_bits_is_looked_at_as_floats(how):
    bank = Bank(tiny_base())
    quantize(bank.base.model, Quantization(how), "cpu")
    for kind in KINDS:
        add(bank, kind, kind)
    for one in analyse(bank).changes:
        weight, change = dense(bank, one.adapter, one.layer)
        assert one.norm == pytest.approx(float(change.norm()), rel=1e-4)
        assert one.relative == pytest.approx(float(change.norm() / weight.norm()), rel=1e-4)


def test_groups_hold_every_layer_once_and_every_pair_both_ways():
    bank = Bank(tiny_base())
    for seed, name in enumerate("ab"):
        add(bank, name, seed=seed, lora_target_modules=["q_proj", "up_proj"])
    found = analyse(bank)
    grouped = changes_by_type(found)
    assert {key: len(ones) for key, ones in grouped.items()} == {
        (name, layer): 2 for name in "ab" for layer in ("q_proj", "up_proj")
    }
    assert {layer: set(pairs) for layer, pairs in overlaps_by_type(found).items()} == {
        "q_proj": {("a", "b"), ("b", "a")}, "up_proj": {("a", "b"), ("b", "a")},
    }  # fmt: skip
    assert mean([1.0, None, 2.0]) == 1.5
    assert mean([None]) is None


def test_no_directions_are_none_to_compare():
    with pytest.raises(AdapterError, match="directions 0: must be at least 1"):
        analyse(Bank(tiny_base()), directions=0)


def test_more_singular_values_than_one_line_stay_finite():
    bank = Bank(tiny_base())
    add(bank, "a", lora_r=64)  # above every width
    for one in analyse(bank).changes:
        assert all(map(math.isfinite, one.values))
        assert len(one.values) == min(matrix(bank.base.model.get_submodule(one.layer)).shape)
