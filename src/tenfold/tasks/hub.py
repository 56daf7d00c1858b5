"""Reads data sets from the Hugging Face hub, or a local folder of one, through ``datasets``."""

import pathlib

import datasets
from datasets.exceptions import DatasetGenerationError

from tenfold.errors import DataError
from tenfold.tasks.files import Rows
from tenfold.tasks.settings import SourceSettings


def read_dataset(source: SourceSettings, folder: pathlib.Path) -> Rows:
    """The rows of one split. Data sets that are programs are not run. Raises DataError."""
    assert source.dataset_name
    local = folder / pathlib.Path(source.dataset_name).expanduser()
    name = str(local) if local.is_dir() else source.dataset_name
    split = source.dataset_split or "train"
    try:
        found = datasets.load_dataset(name, source.dataset_subset, split=split)
    except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:
        raise DataError(_explain(error, source, split)) from None
    rows: Rows = found.select(range(min(len(found), source.max_rows or len(found)))).to_list()
    return rows


def _explain(error: Exception, source: SourceSettings, split: str) -> str:
    asked = f"data set {source.dataset_name!r}"
    asked += f", subset {source.dataset_subset!r}" if source.dataset_subset else ""
    offline = "; HF_HUB_OFFLINE is set" if datasets.config.HF_HUB_OFFLINE else ""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return f"{asked}, split {split!r}: {reason}{offline}"
