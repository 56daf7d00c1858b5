"""Merged weights compute what the adapter does, and the pristine ones come back bit for bit."""

import pytest
import torch
from peer import fill, plain_logits, some_ids, tiny_base

from tenfold import plugins
from tenfold.adapters import Bank
from tenfold.adapters.merging import merged
from tenfold.base.quantize import Quantization, quantize
from tenfold.errors import AdapterError

KINDS = plugins.names("tenfold.adapters")


def bank_of(kind, family="llama"):
    bank = Bank(tiny_base(family))
    bank.add("a", kind, plugins.find("tenfold.adapters", kind).Config())
    fill(bank.parameters("a").values(), spread=0.2)
    return bank


def weights(bank):
    return {name: p.detach().clone() for name, p in bank.base.model.named_parameters()}


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_what_the_adapter_gives_or_refused(kind, family):
    bank, ids = bank_of(kind, family), some_ids()
    before, wanted = weights(bank), plain_logits(bank, ids, "a")
    if kind in ("fff", "bottleneck"):
        with pytest.raises(AdapterError, match=f"no matrix does what {kind} does"), merged(bank, "a"):
            pass
    else:
        with merged(bank, "a"):
            torch.testing.assert_close(plain_logits(bank, ids), wanted, rtol=1e-4, atol=1e-5)
    after = weights(bank)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_pristine_weights_come_back_when_something_raises_within():
    bank = bank_of("lora")
    pointers = {name: p.data_ptr() for name, p in bank.base.model.named_parameters()}
    with pytest.raises(RuntimeError, match="halfway"), merged(bank, "a"):
        raise RuntimeError("halfway")
    assert pointers == {name: p.data_ptr() for name, p in bank.base.model.named_parameters()}


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_a_base_in_few_bits_is_refused(how):
    bank = bank_of("lora")
    bank.remove("a")
    bank.base.quantization = Quantization(how)
    quantize(bank.base.model, bank.base.quantization, "cpu")
    bank.add("a", "lora", plugins.find("tenfold.adapters", "lora").Config())
    with pytest.raises(AdapterError, match=f"cannot be merged into a base in {how}"), merged(bank, "a"):
        pass
