"""Sends a parcel to the Hugging Face hub, in one commit."""

import tempfile
from importlib.metadata import version
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

from tenfold.errors import ConfigError, RunError
from tenfold.publication.parcel import Parcel


def send(parcel: Parcel, *, private: bool = False, api: huggingface_hub.HfApi | None = None) -> str:
    """Make the repository where it is not there, put the files into it, and give its address.

    api: by default the hub's own, with the token that ``hf auth login`` or HF_TOKEN left; no error shows it.
    Raises ConfigError where there is no token, RunError for what the hub refuses or where it cannot be reached.
    """
    api = api or huggingface_hub.HfApi(
        token=huggingface_hub.get_token(), library_name="tenfold", library_version=version("tenfold")
    )
    if not api.token:
        raise ConfigError("no token for the hub; run: hf auth login, or set HF_TOKEN; --dry-run needs none")
    try:
        with tempfile.TemporaryDirectory() as folder:
            parcel.write(Path(folder))
            place = api.create_repo(parcel.repo_id, private=private or None, exist_ok=True)
            api.upload_folder(
                repo_id=parcel.repo_id, folder_path=folder, commit_message="Adapters trained with tenfold"
            )
    except (HfHubHTTPError, OSError) as error:
        text = " ".join(str(error).split()).replace(str(api.token), "***")
        raise RunError(f"{parcel.repo_id} could not be sent: {text[:300]}") from None
    return str(place)
