"""A task of four rows, measured with the base and with its own adapter."""

import json

from tenfold.adapters.composition import compose
from tenfold.evaluate.evaluation import Item
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.task import load

ROWS = [
    {"q": "two and two", "a": "4"},
    {"q": "one", "a": "1"},
    {"q": "three", "a": "3"},
    {"q": "x", "a": "1"},
]


def make_task(folder, name="sums", rows=ROWS, **settings):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "eval_path": f"{name}.jsonl", "path": f"{name}.jsonl", "prompt": "{q}=", "response": "{a}",
        "prompt_style": "raw", **settings,
    }  # fmt: skip
    return load(name, TaskSettings(**given), folder)


def both_ways(task):
    """With the base and with its own adapter."""
    return [
        Item(task, split, label, c)
        for split in task.eval_sets
        for label, c in (("base", ()), ("sums", compose("sums")))
    ]
