"""Rows that are tokens already."""

import json

import pytest
from tokens import tiny_tokenizer

from tenfold.base.model import Coding
from tenfold.errors import DataError
from tenfold.tasks import encode_all
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.task import load


def examples(folder, rows, **settings):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = TaskSettings(path="rows.jsonl", **settings)
    return load("t", given, folder).train, given


def encoded(folder, row, family="causal", **settings):
    found, given = examples(folder, [row], **settings)
    (one,) = encode_all(found, Coding(tiny_tokenizer(), family, start=0 if family == "seq2seq" else None), given)
    return one


def test_a_row_is_what_it_says(tmp_path):
    one = encoded(tmp_path, {"input_ids": [1, 7, 8, 9, 2], "labels": [-100, -100, 8, -100, 2]})
    assert (one.row.tokens, one.row.supervised) == ([1, 7, 8, 9, 2], [False, False, True, False, True])
    assert (one.prompt, one.answer, one.truncated) == ([1, 7], 3, False)


def test_without_labels_everything_counts_and_padding_goes(tmp_path):
    one = encoded(tmp_path, {"input_ids": [0, 0, 7, 8], "attention_mask": [0, 0, 1, 1]})
    assert (one.row.tokens, one.row.supervised, one.prompt) == ([7, 8], [True, True], [7])
    padded = {"input_ids": [7, 8, 0], "attention_mask": [1, 1, 0], "labels": [7, -100, -100]}
    one = encoded(tmp_path, padded)
    assert (one.row.tokens, one.row.supervised) == ([7, 8], [True, False])


def test_a_class_has_its_name(tmp_path):
    found, settings = examples(tmp_path, [{"input_ids": [1, 7], "label": 1}], options=["no", "yes"])
    assert found[0].response == "yes"
    (one,) = encode_all(found, Coding(tiny_tokenizer(), "classification"), settings)
    assert (one.row.tokens, one.row.label, one.prompt) == ([1, 7], 1, [1, 7])


def test_an_encoder_reads_ids_and_its_decoder_says_labels(tmp_path):
    one = encoded(tmp_path, {"input_ids": [7, 8, 2], "labels": [9, 2, -100, -100]}, "seq2seq")
    assert (one.row.source, one.row.tokens, one.row.supervised) == ([7, 8, 2], [0, 9, 2], [False, True, True])


@pytest.mark.parametrize(
    ("row", "family", "words"),
    [
        ({"input_ids": "1 2"}, "causal", "row 1: input_ids must be whole numbers, one a token"),
        ({"input_ids": []}, "causal", "it has no tokens"),
        ({"input_ids": [1, 2], "attention_mask": [1]}, "causal", "2 input_ids, but 1 of attention_mask"),
        ({"input_ids": [1, 2], "labels": [2, 3]}, "causal", "labels must be input_ids, or -100"),
        ({"input_ids": [1, 2], "labels": [1]}, "causal", "labels must be input_ids, or -100"),
        ({"input_ids": [1, 2], "label": 2}, "classification", "class 2 is none of the 2 that options names"),
        ({"input_ids": [1, 2]}, "classification", "no class in a column label"),
    ],
)
def test_mistakes(tmp_path, row, family, words):
    with pytest.raises(DataError, match=words):
        encoded(tmp_path, row, family, options=["no", "yes"])
