import json

import pytest

from tenfold import tasks
from tenfold.errors import ConfigError, DataError
from tenfold.tasks.settings import TaskSettings

TEMPLATES = {"prompt": "{text}", "response": "{answer}"}


@pytest.fixture
def folder(tmp_path):
    for name, count in {"train": 10, "eval": 4, "other": 3}.items():
        rows = [{"text": f"{name} {i}", "answer": str(i)} for i in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def load(folder, **settings):
    return tasks.load("mine", TaskSettings(**{**TEMPLATES, **settings}), folder)


def texts(examples):
    return [example.columns["text"] for example in examples]


def test_splits_from_files(folder):
    task = load(
        folder,
        path="train.jsonl",
        eval_path="eval.jsonl",
        validation_path={"path": "other.jsonl", "max_rows": 2},
        eval_sets={"again": "other.jsonl"},
        eval_max_rows=3,
    )
    assert {name: len(rows) for name, rows in task.splits().items()} == {
        "train": 10, "validation": 2, "eval": 3, "again": 3,
    }  # fmt: skip
    assert list(task.eval_sets) == ["eval", "again"]
    assert task.notes == []


@pytest.mark.parametrize(("size", "count"), [(0.3, 3), (2, 2), (0.001, 1)])
def test_validation_cut_from_the_training_rows(folder, size, count):
    task = load(folder, path="train.jsonl", val_set_size=size)
    assert len(task.validation) == count
    assert sorted(texts(task.train) + texts(task.validation)) == [f"train {i}" for i in range(10)]
    assert task.validation == load(folder, path="train.jsonl", val_set_size=size).validation
    assert task.eval_sets["eval"] == task.validation
    assert task.notes == ["no eval_path: the validation rows are the evaluation set too"]
    assert list(task.splits()) == ["train", "validation"]


def test_another_seed_cuts_other_rows(folder):
    cuts = {tuple(texts(load(folder, path="train.jsonl", val_set_size=3, seed=s).validation)) for s in range(5)}
    assert len(cuts) > 1


def test_max_rows_takes_the_first_and_repeat_gives_numbers_of_their_own(folder):
    task = load(folder, path="train.jsonl", max_rows=3, repeat=2)
    assert texts(task.train) == [f"train {i}" for i in (0, 1, 2, 0, 1, 2)]
    assert [example.index for example in task.train] == list(range(6))
    assert len(task.splits()["train"]) == 3
    assert "nothing to evaluate on" in task.notes[0]


def test_an_adapter_that_is_not_trained_needs_no_rows(folder):
    task = load(folder, train=False, adapter_path="a", eval_path="eval.jsonl")
    assert (task.train, len(task.eval_sets["eval"])) == ([], 4)


def test_made_rows_need_no_file(folder):
    task = load(folder, path="synthetic:dates?rows=5", eval_path="synthetic:dates?split=test&rows=3")
    assert [len(rows) for rows in task.splits().values()] == [5, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "tasks.mine.path: path or dataset_name is required"),
        ({"path": "trian.jsonl"}, r"tasks.mine.path: .*trian.jsonl: no such file"),
        ({"path": "train.jsonl", "eval_path": "x.jsonl"}, "tasks.mine.eval_path: .*no such file"),
        ({"path": "train.jsonl", "eval_sets": {"a": "x.jsonl"}}, "tasks.mine.eval_sets.a: .*no such file"),
        (
            {"path": "train.jsonl", "prompt": "{txt}"},
            r"tasks.mine.prompt: \{txt\} is no column of train.jsonl",
        ),
        ({"path": "train.jsonl", "val_set_size": 10}, "tasks.mine.val_set_size: 10 of 10 rows leaves none"),
        ({"path": "synthetic:dates?rows=0"}, "tasks.mine.path: synthetic:dates"),
        ({"path": "train.jsonl", "response": ""}, "tasks.mine.response: empty in every row of train.jsonl"),
        ({"dataset_name": "no/such"}, "tasks.mine.dataset_name: data set 'no/such'"),
    ],
)
def test_errors_begin_with_the_dotted_key(folder, settings, message, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises((DataError, ConfigError), match=f"^{message}"):
        load(folder, **settings)
