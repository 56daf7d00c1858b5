import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

import openai
from process import serving
from world import make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run folder on a tiny random base."""
    return make_run(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def server(run):
    """A server that everybody may ask."""
    with serving(run) as process:
        yield process


@pytest.fixture(scope="session")
def client(server):
    """OpenAI's own client of it."""
    with openai.OpenAI(base_url=f"{server.address}v1", api_key="none", max_retries=0) as found:
        yield found
