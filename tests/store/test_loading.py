"""What an adapter's parts are made of when they come from a file: its numbers, and nothing that leads back to it."""

import json

import pytest
import torch
from peer import fill, plain_logits, some_ids, tiny_bank, tiny_base
from safetensors.torch import load_file, save_file

from tenfold import plugins
from tenfold.adapters import Bank
from tenfold.adapters._base import Layer
from tenfold.adapters.blank import blank
from tenfold.errors import AdapterError
from tenfold.store import card, load, save

KINDS = plugins.names("tenfold.adapters")
TENSORS = "adapter_model.safetensors"


def saved(kind, folder, family="llama"):
    bank = Bank(tiny_base(family))
    bank.add("a", kind, plugins.find("tenfold.adapters", kind).Config())
    fill(bank.parameters("a").values())
    save(bank, "a", folder, card.describe(bank.base))
    return bank


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_loaded_parts_are_what_built_ones_are(kind, family, tmp_path):
    first = saved(kind, tmp_path / "a", family)
    second = Bank(tiny_base(family))
    load(second, tmp_path / "a")
    assert list(second.get("a").modules) == list(first.get("a").modules)
    for layer, built in first.get("a").modules.items():
        part = second.get("a").modules[layer]
        assert type(part) is type(built)
        assert set(vars(part)) == set(vars(built))
        assert all(p.requires_grad and p.is_leaf and p.dtype == torch.float32 for p in part.parameters())
        assert [*part.state_dict()] == [*built.state_dict()]
        assert all(torch.equal(a, b) for a, b in zip(part.parameters(), built.parameters(), strict=True))
    assert torch.equal(plain_logits(first, some_ids(), "a"), plain_logits(second, some_ids(), "a"))


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_that_goes_by_shape_does_not_look_at_names(name):
    kind = plugins.find("tenfold.adapters", name)
    if not kind.Adapter.shaped:
        return
    names = ["model.layers.0.mlp.down_proj", "transformer.h.3.attn.c_attn", "x.k_proj", "x.gate_proj", "score"]
    built = [kind.Adapter(kind.Config(), Layer(one, 6, 10), torch.Generator().manual_seed(0)) for one in names]
    for other in built[1:]:
        for key, value in vars(built[0]).items():
            if key != "_parameters":
                assert type(vars(other)[key]) is type(value)
                assert repr(vars(other)[key]) == repr(value)
        assert all(torch.equal(a, b) for a, b in zip(built[0].parameters(), other.parameters(), strict=True))


def test_blank_parts_share_nothing_that_can_be_changed():
    kind = plugins.find("tenfold.adapters", "dora")
    one, other = blank(kind, kind.Config(), [Layer("a", 6, 10), Layer("b", 6, 10)]).values()
    shared = [key for key, value in vars(one).items() if isinstance(value, dict | list) and value is vars(other)[key]]
    assert not shared
    one.register_parameter("more", torch.nn.Parameter(torch.ones(1)))
    assert "more" not in dict(other.named_parameters())


def test_training_a_loaded_adapter_leaves_its_file(tmp_path):
    saved("lora", tmp_path / "a")
    before = (tmp_path / "a" / TENSORS).read_bytes()
    bank, other = Bank(tiny_base()), Bank(tiny_base())
    load(bank, tmp_path / "a")
    load(other, tmp_path / "a")
    parameters = bank.parameters("a")
    old = {key: value.detach().clone() for key, value in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert not any(torch.equal(value, old[key]) for key, value in parameters.items())
    assert (tmp_path / "a" / TENSORS).read_bytes() == before
    assert all(torch.equal(value, old[key]) for key, value in other.parameters("a").items())


def test_changing_one_parameter_is_no_change_of_another(tmp_path):
    saved("lora", tmp_path / "a")
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a")
    first, *others = bank.parameters("a").values()
    with torch.no_grad():
        first.add_(1)
    assert first._version == 1
    assert {other._version for other in others} == {0}


def test_a_file_that_is_removed_after_loading(tmp_path):
    first = saved("lora", tmp_path / "a")
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a")
    (tmp_path / "a" / TENSORS).unlink()
    assert torch.equal(plain_logits(first, some_ids(), "a"), plain_logits(bank, some_ids(), "a"))


@pytest.mark.parametrize("types", [(torch.bfloat16, torch.bfloat16), (torch.float64, torch.float16, torch.float32)])
def test_other_floats_come_as_float32(tmp_path, types):
    first = saved("lora", tmp_path / "a")
    tensors = load_file(tmp_path / "a" / TENSORS)
    cast = {key: value.to(types[i % len(types)]) for i, (key, value) in enumerate(tensors.items())}
    save_file(cast, tmp_path / "a" / TENSORS)
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a")
    found = {f"base_model.model.{key}.weight".replace(".a.", ".lora_A."): p for key, p in bank.parameters("a").items()}
    found = {key.replace(".b.", ".lora_B."): p for key, p in found.items()}
    assert found.keys() == cast.keys()
    assert all(torch.equal(found[key], value.float()) for key, value in cast.items())
    assert bank.get("a").size == first.get("a").size


def test_numbers_that_begin_at_an_odd_place(tmp_path):
    first = saved("lora", tmp_path / "a")
    path = tmp_path / "a" / TENSORS
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    path.write_bytes((length + 1).to_bytes(8, "little") + content[8 : 8 + length] + b" " + content[8 + length :])
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a")
    assert all(torch.equal(p, bank.parameters("a")[key]) for key, p in first.parameters("a").items())


def test_a_file_without_tensors(tmp_path):
    saved("lora", tmp_path / "a")
    save_file({}, tmp_path / "a" / TENSORS)
    with pytest.raises(AdapterError, match="missing"):
        load(Bank(tiny_base()), tmp_path / "a")


def test_a_name_in_use_is_said_before_anything_is_read(tmp_path):
    saved("lora", tmp_path / "a")
    (tmp_path / "a" / TENSORS).unlink()
    with pytest.raises(AdapterError, match="'a' is in the bank already"):
        load(tiny_bank("llama", "a"), tmp_path / "a")


def test_settings_are_read_anew_each_time(tmp_path):
    saved("lora", tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    bank = Bank(tiny_base())
    load(bank, tmp_path / "a", "first")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 64}))
    load(bank, tmp_path / "a", "second")
    scales = [{part.scale for part in bank.get(name).modules.values()} for name in ("first", "second")]
    assert scales == [{2.0}, {8.0}]


def test_each_part_stands_where_its_layer_does(tmp_path):
    saved("lora", tmp_path / "a")
    bank = Bank(tiny_base())
    bank.base.model.model.layers[1].to("meta")
    load(bank, tmp_path / "a")
    places = {layer: {p.device.type for p in part.parameters()} for layer, part in bank.get("a").modules.items()}
    assert places == {layer: {"meta" if ".layers.1." in layer else "cpu"} for layer in places}
    assert {"meta"} in places.values()
