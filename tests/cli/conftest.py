import pytest
from projects import write_project

from tenfold import cli


@pytest.fixture
def project(tmp_path, tiny_folder):
    """A folder with a config of two tasks, their rows and a tiny base."""
    write_project(tmp_path, tiny_folder)
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
