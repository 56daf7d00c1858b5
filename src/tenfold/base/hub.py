"""A model's files from the Hugging Face hub or its cache."""

import pathlib
from collections.abc import Sequence

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from tenfold.errors import ModelError

WANTED = ("*.json", "*.jinja", "*.model", "*.safetensors", "*.txt")
UNWANTED = ("*/*", "consolidated*", "*.fp16.*")


def folder(name: str, wanted: Sequence[str] = WANTED, unwanted: Sequence[str] = UNWANTED) -> pathlib.Path:
    """The folder in the hub's cache with settings, tokenizer and safetensors of ``name`` (or what is wanted).

    Offline (HF_HUB_OFFLINE) or where the hub cannot be reached, it is what the cache has. One
    attempt, no retries. Raises ModelError with the reason.
    """
    try:
        return pathlib.Path(
            snapshot_download(name, allow_patterns=list(wanted), ignore_patterns=list(unwanted), etag_timeout=10)
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(_reason(error)) from error


def _reason(error: Exception) -> str:
    hub = constants.ENDPOINT
    match error:
        case HFValidationError():
            return "not a hub id (NAME or OWNER/NAME)"
        case GatedRepoError():
            return f"{hub} wants you to accept the model's terms and log in (hf auth login)"
        case RepositoryNotFoundError():
            return f"{hub} knows no such model, or it is private (hf auth login)"
        case LocalEntryNotFoundError() if constants.HF_HUB_OFFLINE:
            return "not in the hub's cache, and HF_HUB_OFFLINE forbids to ask the hub"
        case LocalEntryNotFoundError():
            return f"not in the hub's cache, and {hub} cannot be reached"
        case _:
            return f"{hub}: {(str(error).splitlines() or [type(error).__name__])[0]}"
