import pytest
import torch
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold.adapters.bank import Bank
from tenfold.adapters.lora import Config
from tenfold.base.model import Base


@pytest.fixture
def bank():
    bank = Bank(Base(tiny_model(), tiny_tokenizer(), "tiny", "0"))
    for seed, name in enumerate(["sums", "words"]):
        bank.add(name, "lora", Config(lora_r=2), seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for key, parameter in bank.parameters(name).items():
            if key.endswith("b"):
                parameter.data.normal_(0, 0.5, generator=generator)
    return bank
