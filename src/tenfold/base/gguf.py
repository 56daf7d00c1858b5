"""A GGUF file becomes a transformers folder, once."""

import contextlib
import io
import pathlib

import torch
from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tenfold.base.calls import reading

_SPLITTING = {
    # SmolLM: as its own tokenizer.json has it. transformers' GGUF reader drops the first of the two.
    "smollm": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    ),
}


def convert(file: pathlib.Path, folder: pathlib.Path, name: str) -> None:
    """Write the model of a GGUF file to ``folder``: config, fp32 safetensors, tokenizer.

    Quantised weights become the floats that they stand for. name: what errors call the model.
    Raises ModelError for a damaged file or an architecture that transformers cannot read.
    """
    # transformers draws a bar of its own for GGUF, which no setting turns off
    with reading(f"{file.name} of {name}"), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = _tokenizer(file)
        model = _model(file)
        tokenizer.model_max_length = model.config.max_position_embeddings
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)


def _tokenizer(file: pathlib.Path) -> PreTrainedTokenizerBase:
    """The file's tokenizer, with the splitting that the file names and transformers does not read."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(file.parent, gguf_file=file.name)
    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    splitting = _SPLITTING.get(field.contents()) if field else None
    if splitting is not None:
        tokenizer.backend_tokenizer.pre_tokenizer = splitting
    return tokenizer


def _model(file: pathlib.Path) -> PreTrainedModel:
    """The file's weights in a model that knows nothing of GGUF, so that it can be saved."""
    loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    with torch.device("meta"):
        fresh = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    fresh.load_state_dict(loaded.state_dict(), assign=True)
    fresh.tie_weights()
    fresh.generation_config = loaded.generation_config
    return fresh
