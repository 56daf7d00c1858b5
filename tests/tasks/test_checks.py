import json

import pytest
from PIL import Image
from tokens import tiny_tokenizer

from tenfold import tasks
from tenfold.base import Coding
from tenfold.tasks.checks import inspect, mark
from tenfold.tasks.overlaps import find_overlaps, normalise
from tenfold.tasks.plots import save_lengths
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.tables import label_grid, split_grid


@pytest.fixture
def load(tmp_path):
    def load(name, train, held, **settings):
        for split, rows in {"train": train, "eval": held}.items():
            lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
            (tmp_path / f"{name}.{split}.jsonl").write_text("\n".join(lines))
        given = {"path": f"{name}.train.jsonl", "eval_path": f"{name}.eval.jsonl", "label_column": "label"}
        return tasks.load(name, TaskSettings(**{"prompt": "{text}", **given, **settings}), tmp_path)

    return load


TRAIN = [("one", "a"), ("two words", "b"), ("One ", "a"), ("one", "b"), ("x" * 50, "a")]


def test_a_report(load):
    task = load("t", TRAIN, [("three", "a"), ("TWO  words", "b")], sequence_len=40, repeat=3)
    report = inspect([task], Coding(tiny_tokenizer()))
    train, held = report.splits
    assert (train.rows, held.rows) == (5, 2)
    overhead = len("S[user] \n[assistant] aE")
    assert (train.length(0), train.length(0.5), train.length(0.95), train.length(1)) == (
        overhead + 3, overhead + 4, 40, 40,
    )  # fmt: skip
    assert (train.truncated, train.duplicates, train.contradictions) == (1, 2, 1)
    assert train.labels == {"a": 3, "b": 2}
    assert train.supervised == 2 * 5
    [overlap] = report.overlaps
    assert (overlap.split, overlap.in_split, overlap.rows, overlap.of) == ("eval", "train", 1, 2)
    assert report.samples[0].runs == [("<s>[user] one\n[assistant] ", False), ("a</s>", True)]
    assert report.warnings == [
        "t train: 1 of 5 rows are cut to sequence_len 40",
        "t train: 2 of 5 rows repeat an earlier row's input, 1 of them with another response",
        "t eval: 1 of 2 inputs stand in t train too, e.g. 'TWO  words'",
    ]


def test_rows_of_another_tasks_training_are_found_under_another_template(load):
    first = load("first", [("shared", "a"), ("own", "b")], [("held", "a"), ("also", "b")])
    second = load("second", [("held", "a")], [("shared", "a")], prompt="Review: {text}\nSentiment:")
    found = {(o.task, o.split, o.in_task, o.in_split): o.rows for o in find_overlaps([first, second])}
    assert found == {("first", "eval", "second", "train"): 1, ("second", "eval", "first", "train"): 1}


def test_one_label_is_worth_a_word(load):
    report = inspect([load("t", [("a", "x"), ("b", "x")], [("c", "x")])], Coding(tiny_tokenizer()))
    assert report.warnings == ["t train: every row has the label 'x'"]


def test_labels_that_are_new_rare_or_otherwise_spread(load):
    train = [(f"row {i}", "a" if i % 20 else "b") for i in range(200)]
    held = [(f"held {i}", "a" if i % 2 else "b") for i in range(100)]
    report = inspect([load("t", train, held)], Coding(tiny_tokenizer()), alike=None)
    assert report.warnings == [
        "t train: the label 'a' has 10 times the rows of 'b' or more",
        "t eval: 45% of the rows would need another label for the shares of train",
    ]
    report = inspect([load("t", train[1:20], [("x", "c"), ("y", "b")])], Coding(tiny_tokenizer()), alike=None)
    assert report.warnings[-1] == "t eval: no training row has the label 'c', 'b'"
    report = inspect([load("t", train, [("x", "b"), ("y", "a")])], Coding(tiny_tokenizer()), alike=None)
    assert report.warnings == ["t train: the label 'a' has 10 times the rows of 'b' or more"]  # two rows prove nothing


def test_lengths_by_label_and_tables(load):
    report = inspect([load("t", TRAIN, [("three", "a")])], Coding(tiny_tokenizer()))
    overhead = len("S[user] \n[assistant] aE")
    assert report.splits[0].by_label == {"a": [overhead + n for n in (3, 4, 50)], "b": [overhead + n for n in (9, 3)]}
    [first, second, third] = label_grid(report.splits).rows
    assert first == ("t", "train", "a", "3", "60.0%", *(str(overhead + n) for n in (3, 4, 50, 50)))
    assert (second[2], third[:4]) == ("b", ("t", "eval", "a", "1"))
    assert split_grid(report.splits).rows[0][-3:] == ("0", "2", "1")
    many = [(f"text number {i}", str(i)) for i in range(30)]
    grid = label_grid(inspect([load("m", many, many)], Coding(tiny_tokenizer())).splits)
    assert [row[2] for row in grid.rows[11:14]] == ["11", "18 more", "0"]
    assert grid.rows[12][3:5] == ("18", "60.0%")


def test_marks_with_the_loss_on_everything(load):
    task = load("t", TRAIN, TRAIN, train_on_inputs=True, prompt_style="raw")
    [encoded, *_] = tasks.encode_all(task.train, Coding(tiny_tokenizer()), task.settings)
    assert mark(encoded, tiny_tokenizer()) == [("onea</s>", True)]


def test_normalising():
    assert normalise(" Ｇroß\n\tX ") == "gross x"


def test_the_plot(load, tmp_path):
    report = inspect([load("t", TRAIN, TRAIN, sequence_len=40), load("u", TRAIN, TRAIN)], Coding(tiny_tokenizer()))
    save_lengths(report, tmp_path / "lengths.png")
    with Image.open(tmp_path / "lengths.png") as image:
        assert image.size[0] == 960
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_cleaned_splits_of_real_data_do_not_leak(data):
    def load(name):
        paths = {"path": f"{name}/train.jsonl", "eval_path": f"{name}/test.jsonl"}
        return tasks.load(name, TaskSettings(prompt="{text}", label_column="label", **paths), data)

    loaded = [load("sst2"), load("rotten_tomatoes")]
    assert sum(o.rows for o in find_overlaps(loaded) if o.task != o.in_task) <= 5
