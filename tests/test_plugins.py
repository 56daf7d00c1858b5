import subprocess
import sys

import pytest

from tenfold import plugins
from tenfold.errors import ConfigError


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "zoo_of_kinds"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "cat.py").write_text("class Config: ...\nclass Adapter: ...\nraise SystemExit('imported')\n")
    (folder / "dog.py").write_text("import enum\nConfig: type = enum.Enum\nAdapter = int\n")
    (folder / "keeper.py").write_text("from enum import Enum as Config\nclass Adapter: ...\n")
    (folder / "_base.py").write_text("class Config: ...\nclass Adapter: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "zoo_of_kinds"


def test_kinds_are_files_that_define_the_exports(package):
    assert plugins.names(package) == ["cat", "dog"]
    assert plugins.names(package, ("Adapter",)) == ["cat", "dog", "keeper"]


def test_find_imports_one_kind(package):
    assert plugins.find(package, "dog").Adapter is int


@pytest.mark.parametrize("name", ["dogs", "keeper", "_base", "os", "../dog"])
def test_an_unknown_kind_is_an_error_with_the_known_ones(package, name):
    with pytest.raises(ConfigError, match="known: cat, dog"):
        plugins.find(package, name)


def test_listing_kinds_imports_no_torch():
    code = "import sys; from tenfold import plugins; print(plugins.names('tenfold.adapters'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['bottleneck', 'dora', 'fff', 'ia3', 'lora'] False"
