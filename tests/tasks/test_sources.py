import json
import os
import subprocess
import sys

import datasets
import pytest

from tenfold.errors import ConfigError, DataError, MissingExtraError
from tenfold.tasks import synthetic
from tenfold.tasks.settings import SourceSettings
from tenfold.tasks.sources import read
from tenfold.tasks.synthetic import spelling

KINDS = ["contacts", "dates", "spelling"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder as a hub data set's repository looks, and no network."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "reviews"
    folder.mkdir()
    for split, count in {"train": 5, "validation": 2}.items():
        rows = [{"text": f"{split} {i}", "label": i} for i in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_a_data_set_folder(hub):
    assert read(SourceSettings(dataset_name="reviews", max_rows=2), hub) == [
        {"text": "train 0", "label": 0},
        {"text": "train 1", "label": 1},
    ]
    assert len(read(SourceSettings(dataset_name="reviews", dataset_split="validation"), hub)) == 2


def test_an_unknown_split_says_which_there_are(hub):
    with pytest.raises(DataError, match=r"'reviews', split 'tset': .*validation"):
        read(SourceSettings(dataset_name="reviews", dataset_split="tset"), hub)


def test_an_unreachable_data_set_is_one_line(hub):
    with pytest.raises(DataError, match="data set 'nobody/nothing'") as caught:
        read(SourceSettings(dataset_name="nobody/nothing"), hub)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_made_rows_are_the_same_every_time_and_short(kind):
    path = f"synthetic:{kind}?split=train&rows=300"
    rows = synthetic.read(path)
    assert rows == synthetic.read(path)
    assert rows != synthetic.read(path + "&seed=1")
    assert len(rows) == 300
    assert len({row["text"] for row in rows}) > 290
    assert all(set(row) == {"text", "answer"} and len(row["text"] + row["answer"]) < 200 for row in rows)


def test_made_rows_are_the_same_in_every_process():
    made = "print([synthetic.read(f'synthetic:{kind}?rows=50') for kind in ('contacts', 'dates', 'spelling')])"
    command = [sys.executable, "-c", f"from tenfold.tasks import synthetic; {made}"]
    outputs = {
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["text", "answer"])
def test_splits_are_disjoint(kind, column):
    sizes = {"train": 1000, "validation": 300, "test": 300}
    splits = [
        {row[column] for seed in (0, 1) for row in synthetic.read(f"synthetic:{kind}?split={s}&rows={n}&seed={seed}")}
        for s, n in sizes.items()
    ]
    assert sum(map(len, splits)) == len(set.union(*splits))


def test_contacts_are_disjoint_by_person_and_found_in_the_text():
    people = []
    for split in ("train", "test"):
        rows = synthetic.read(f"synthetic:contacts?split={split}&rows=400")
        answers = [json.loads(row["answer"]) for row in rows]
        people.append({answer["name"] for answer in answers})
        for row, answer in zip(rows, answers, strict=True):
            values = [v for k, v in answer.items() if k != "name"] + answer["name"].split()
            assert all(value in row["text"] for value in values), row
    assert not people[0] & people[1]


def test_dates_have_one_reading():
    texts = [row["text"] for row in synthetic.read("synthetic:dates?rows=2000")]
    assert all(any(c.isalpha() for c in text) for text in texts)


@pytest.mark.parametrize(
    ("wrong", "right", "one"),
    [
        ("recieve", "receive", True),
        ("wich", "which", True),
        ("untill", "until", True),
        ("definately", "definitely", True),
        ("thew", "the", True),
        ("same", "same", False),
        ("abdc", "bacd", False),
        ("aproximatly", "approximately", False),
    ],
)
def test_one_slip(wrong, right, one):
    assert spelling.is_one_slip(wrong, right) == one


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("synthetic:date", ConfigError, "did you mean 'dates'"),
        ("synthetic:dates?splt=train", DataError, "unknown 'splt'.*did you mean 'split'"),
        ("synthetic:dates?split=dev", DataError, "none of train, validation, test"),
        ("synthetic:dates?rows=many", DataError, "rows 'many' is not a whole number from 1"),
        ("synthetic:dates?rows", DataError, "not of the form"),
        ("synthetic:dates?rows=1&rows=2", DataError, "something twice"),
        ("synthetic:spelling?split=test&rows=90000", DataError, "90000 rows of test are wanted, there are"),
    ],
)
def test_a_wrong_path_is_one_clear_line(path, error, message):
    with pytest.raises(error, match=message):
        synthetic.read(path)


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faker", None)
    with pytest.raises(MissingExtraError, match=r"synthetic:contacts needs faker: pip install 'tenfold\[demo\]'"):
        synthetic.read("synthetic:contacts")
