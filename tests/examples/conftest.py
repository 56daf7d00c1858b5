import pathlib
import shutil

import pytest
import torch
from tiny import tiny_config
from tokens import tiny_tokenizer
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A tiny random model on disk, with positions enough for real rows at one token a character."""
    folder = tmp_path_factory.mktemp("models") / "base"
    config = tiny_config("llama")
    config.max_position_embeddings = 4096
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def examples(tmp_path, data):
    """A copy of the examples with the data linked beside them, as their README says."""
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("data", "runs", "__pycache__"))
    (folder / "data").symlink_to(data)
    return folder
