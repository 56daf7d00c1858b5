import pytest
from projects import write_project
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold import cli


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A tiny random model on disk."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def project(tmp_path, tiny_base):
    """A folder with a config of two tasks, their rows and a tiny base."""
    write_project(tmp_path, tiny_base)
    return tmp_path


@pytest.fixture
def tenfold(capsys, monkeypatch):
    """Run the command line: (exit code, stdout, stderr)."""

    def tenfold(*arguments):
        monkeypatch.setattr("sys.argv", ["tenfold", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return tenfold
