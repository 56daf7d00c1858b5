import json

import pytest
import yaml

from tenfold import sweep

TASK = {"path": "upper.jsonl", "validation_path": "held.jsonl", "prompt": "{text} -> ", "response": "{answer}"}
SUMS = {"path": "sums.csv", "prompt": "{a}+{b}=", "response": "{c}", "val_set_size": 4}
TOP = {"base_model": "./base", "prompt_style": "raw", "micro_batch_size": 4, "steps": 6, "lora_r": 2, "eval_steps": 2,
       "learning_rate": 0.01, "router": "none"}  # fmt: skip


@pytest.fixture
def project(tmp_path, tiny_folder):
    """Write a sweep's file over a config of one or two tasks and read it; keywords are keys of the sweep.

    top: more settings of the config, tasks: of its tasks; None takes one away.
    """
    (tmp_path / "base").symlink_to(tiny_folder)
    words = ["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr", "st", "uvw", "xyz"]
    rows = [json.dumps({"text": word, "answer": word.upper()}) + "\n" for word in words]
    (tmp_path / "upper.jsonl").write_text("".join(rows[:9]))
    (tmp_path / "held.jsonl").write_text("".join(rows[9:]))
    sums = [f"{a},{b},{a + b}\n" for a in range(3) for b in range(4)]
    (tmp_path / "sums.csv").write_text("a,b,c\n" + "".join(sums))

    def make(name="sweep", *, top=(), upper=(), sums=None, **own):
        tasks = {"upper": {**TASK, **dict(upper)}} | ({"sums": {**SUMS, **dict(sums)}} if sums is not None else {})
        config = filled({**TOP, **dict(top), "tasks": {key: filled(task) for key, task in tasks.items()}})
        path = tmp_path / f"{name}.yaml"
        given = {"output_dir": str(tmp_path / name), **own, "config": config}
        path.write_text(yaml.safe_dump(given, sort_keys=False))
        return sweep.load(path)

    return make


def filled(settings):
    return {key: value for key, value in settings.items() if value is not None}
