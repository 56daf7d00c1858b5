import pathlib

import gguf
import numpy as np
import pytest
import torch
from tiny import tiny_config
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM

from tenfold import base
from tenfold.base import wheels
from tenfold.base.gguf import convert

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = ["<unk>", "<s>", "</s>", *LETTERS, "20", "24"]


def make_model(tied: bool):
    config = tiny_config("llama")
    config.update({"vocab_size": len(TOKENS), "tie_word_embeddings": tied})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def write_gguf(file: pathlib.Path, model, splitting: str) -> None:
    """A Llama in fp32 as llama.cpp writes it, with a byte-level BPE tokenizer that merges 20 and 24."""
    config, writer = model.config, gguf.GGUFWriter(file, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting)
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["2 0", "2 4"])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, weight in model.state_dict().items():
        add_tensor(writer, model, name, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensor(writer, model, name: str, weight: np.ndarray) -> None:
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    for projection, count in heads.items():
        if projection in name:  # llama.cpp interleaves the two halves of each head
            weight = weight.reshape(count, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
    stem, _, kind = name.rpartition(".")
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers).get_name(stem)
    if not (name == "lm_head.weight" and model.config.tie_word_embeddings):
        writer.add_tensor(f"{known}.{kind}", np.ascontiguousarray(weight))


@pytest.mark.parametrize("tied", [True, False])
def test_conversion_keeps_every_weight(tmp_path, tied, capfd):
    model = make_model(tied)
    write_gguf(tmp_path / "m.gguf", model, "smollm")
    convert(tmp_path / "m.gguf", tmp_path / "out", "tiny")
    loaded = base.load(str(tmp_path / "out"))
    ids = torch.arange(3, 60)[None]
    torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits)
    tables = loaded.model.get_input_embeddings().weight, loaded.model.get_output_embeddings().weight
    assert (tables[0] is tables[1]) == tied
    assert {file.suffix for file in (tmp_path / "out").iterdir()} <= {".json", ".safetensors", ".jinja"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("splitting", "pieces"), [("smollm", 4), ("gpt-2", 2)])
def test_digits_are_split_where_the_file_says_so(tmp_path, splitting, pieces):
    write_gguf(tmp_path / "m.gguf", make_model(True), splitting)
    convert(tmp_path / "m.gguf", tmp_path / "out", "tiny")
    tokenizer = base.load(str(tmp_path / "out")).tokenizer
    assert len(tokenizer("2024").input_ids) == pieces
    assert tokenizer.model_max_length == 256


GOLDEN = {
    # digits 0..9 are tokens 32..41 of SmolLM2's vocabulary, "-" is 29, a lone space 216
    "2024-03-17": [34, 32, 34, 36, 29, 32, 35, 29, 33, 39],
    "0123456789": list(range(32, 42)),
    "3.14": [35, 30, 33, 36],
    " 1999": [216, 33, 41, 41, 41],
    # the vocabulary's own order is that of the merges: frequent words have small ids
    "Hello world": [19556, 905],
    "<|im_start|>user\nhi<|im_end|>": [1, 4093, 198, 6004, 2],
    "": [],
}
TEXTS = [
    *GOLDEN,
    "  two  spaces\n\n\ttab",
    "Zoë naïve 你好 😀",
    "def f(x):\n    return x2 ** 10",
    "don't  12,345.67 €",
]


@pytest.mark.real
@pytest.mark.parametrize("text", GOLDEN)
def test_golden_tokens(smollm2, text):
    assert smollm2.tokenizer(text).input_ids == GOLDEN[text]


@pytest.mark.real
@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back(smollm2, text):
    tokenizer = smollm2.tokenizer
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert sum(tokenizer.decode(token).strip().isdigit() for token in ids) == sum(map(str.isdigit, text))


@pytest.mark.real
def test_special_tokens(smollm2):
    tokenizer = smollm2.tokenizer
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert (len(tokenizer), tokenizer.model_max_length) == (49152, 8192)
    assert smollm2.model.generation_config.eos_token_id == 2


@pytest.mark.real
def test_the_model_answers(smollm2):
    ids = smollm2.tokenizer("The capital of France is", return_tensors="pt")
    answer = smollm2.model.generate(**ids, max_new_tokens=6, do_sample=False)
    assert "Paris" in smollm2.tokenizer.decode(answer[0])


@pytest.mark.real
def test_the_model_is_plain_and_tied(smollm2):
    model = smollm2.model
    assert not hasattr(model.config, "quantization_config")
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert model.dtype == torch.float32


@pytest.mark.real
@pytest.mark.slow
def test_a_fresh_conversion_gives_the_same(smollm2, tmp_path):
    fresh = base.load(smollm2.name, cache_dir=tmp_path)
    assert fresh.fingerprint == smollm2.fingerprint
    assert fresh.tokenizer.get_vocab() == smollm2.tokenizer.get_vocab()
    assert not list(tmp_path.rglob("*.whl"))
    assert wheels.folder(smollm2.name, cache_dir=tmp_path).is_relative_to(tmp_path)
