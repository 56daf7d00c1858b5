import json

import pytest
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold import cli

CONFIG = """\
base_model: ./base
output_dir: {folder}/run
prompt_style: raw
micro_batch_size: 4
steps: 3
lora_r: 2
tasks:
  upper:
    path: upper.jsonl
    eval_path: upper.jsonl
    prompt: "{{text}} -> "
    response: "{{answer}}"
    max_new_tokens: 4
    metrics: [exact_match]
  sums:
    path: sums.csv
    prompt: "{{a}}+{{b}}="
    response: "{{c}}"
    steps: 2
"""


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
    (tmp_path / "base").symlink_to(tiny_base)
    rows = [{"text": word, "answer": word.upper()} for word in ("ab", "cd", "ef", "gh", "ij")]
    (tmp_path / "upper.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.csv").write_text("a,b,c\n1,2,3\n2,2,4\n3,4,7\n")
    (tmp_path / "config.yaml").write_text(CONFIG.format(folder=tmp_path))
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
