import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from tenfold.errors import ConfigError, DataError
from tenfold.tasks.settings import SourceSettings
from tenfold.tasks.sources import read

ROWS = [{"text": 'a "quoted", {braced}', "label": "0"}, {"text": "Zürich\u2028線\nnext", "label": "1"}]


def source(path, **settings):
    return SourceSettings(path=str(path), **settings)


def write(folder, name, content):
    content = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return name


def jsonl(rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n"


CSV = 'text,label\r\n"a ""quoted"", {braced}",0\r\n"Zürich\u2028線\nnext",1\r\n'
FORMS = {
    "rows.json": json.dumps(ROWS),
    "data.json": json.dumps({"data": ROWS}),
    "lines.json": jsonl(ROWS),
    "rows.jsonl": jsonl(ROWS),
    "rows.csv": CSV,
    "rows.csv.gz": CSV,
    "ROWS.JSONL.gz": jsonl(ROWS),
    "marked.csv": b"\xef\xbb\xbf" + CSV.encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(name, tmp_path):
    write(tmp_path, name, FORMS[name])
    assert read(source(name), tmp_path) == ROWS


@pytest.mark.parametrize("name", ["rows.parquet", "rows.parquet.gz"])
def test_parquet(name, tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "plain")
    write(tmp_path, name, (tmp_path / "plain").read_bytes())
    assert read(source(name), tmp_path) == ROWS


def test_tsv_gives_quotes_no_meaning(tmp_path):
    write(tmp_path, "a.tsv", 'text\tlabel\n"open quote\t0\nshut"\t1\n')
    assert read(source("a.tsv"), tmp_path) == [
        {"text": '"open quote', "label": "0"},
        {"text": 'shut"', "label": "1"},
    ]
    write(tmp_path, "b.tsv", 'text\tlabel\n"a\tb"\t0\n')
    assert read(source("b.tsv", delimiter="\t"), tmp_path) == [{"text": "a\tb", "label": "0"}]


def test_delimiter_columns_encoding_and_max_rows(tmp_path):
    write(tmp_path, "german.csv", "Grüße;1\nTschüß;2\n".encode("utf-16"))
    settings = {"delimiter": ";", "columns": ["text", "n"], "encoding": "utf-16", "max_rows": 1}
    assert read(source("german.csv", **settings), tmp_path) == [{"text": "Grüße", "n": "1"}]


def test_text_is_one_row_a_line(tmp_path):
    write(tmp_path, "val.de.gz", "eins\r\n\nzwei\u2028drei\n")
    assert read(source("val.de.gz"), tmp_path) == [{"text": "eins"}, {"text": "zwei\u2028drei"}]
    assert read(source("val.de.gz", columns=["de"]), tmp_path)[0] == {"de": "eins"}


def test_an_absolute_path_and_a_long_field(tmp_path):
    write(tmp_path, "long.csv", f"text\n{'x' * 200_000}\n")
    assert len(read(source(tmp_path / "long.csv"), tmp_path / "elsewhere")[0]["text"]) == 200_000


BROKEN = {
    "empty.jsonl": ("\n", "empty.jsonl: no rows"),
    "empty.csv": ("a,b\n", "empty.csv: no rows"),
    "broken.jsonl": ('{"a": 1}\n{"a": \n', r"broken.jsonl:2: broken JSON"),
    "list.jsonl": ("[1]\n", "list.jsonl:1: expected an object with named columns, found a list"),
    "broken.json": ('[\n{"a" 1}]', "broken.json:2: broken JSON"),
    "object.json": ('{"rows": []}', "found an object with 'rows'"),
    "texts.json": ('["a"]', "row 1: expected an object"),
    "ragged.csv": ("a,b\n1,2\n1,2,3\n", r"ragged.csv:3: 3 fields, but there are 2 columns \(a, b\)"),
    "quote.csv": ('a,b\n"1"x,2\n', "quote.csv:2: broken CSV"),
    "open.csv": ('a,b\n"1,2\n', "open.csv:2: broken CSV"),
    "twice.csv": ("a,b,a\n1,2,3\n", "names 'a' twice"),
    "bytes.txt": (b"ok\ncaf\xe9\n", r"bytes.txt:2: byte 6 \(0xe9\) is not utf-8; try `encoding: cp1252`"),
    "wide.txt": ("x".encode("utf-16"), "try `encoding: utf-16`"),
    "binary.txt": (b"a\0b", "not a text file"),
    "broken.parquet": (b"PAR1", "broken Parquet"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_one_clear_line(name, tmp_path):
    content, message = BROKEN[name]
    write(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        read(source(name), tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path):
    write(tmp_path, "train.jsonl", "")
    (tmp_path / "half.gz").write_bytes(gzip.compress(b"text" * 100)[:-9])
    (tmp_path / "not.gz").write_bytes(b"text")
    for name, message in {
        "train.json": "no such file; there is train.jsonl",
        "no/train.json": "nor the folder",
        ".": "is a folder",
        "half.gz": "not a whole gzip file",
        "not.gz": "not a whole gzip file",
    }.items():
        with pytest.raises(DataError, match=message):
            read(source(name), tmp_path)
    with pytest.raises(ConfigError, match="path or dataset_name is required"):
        read(SourceSettings(), tmp_path)


def test_real_messy_files(data):
    messy = data / "messy"
    with pytest.raises(DataError, match=r"rt-polarity.pos.cp1252.txt:\d+: byte \d+ .* try `encoding: cp1252`"):
        read(source("rt-polarity.pos.cp1252.txt"), messy)
    lines = read(source("rt-polarity.pos.cp1252.txt", encoding="cp1252"), messy)
    assert len(lines) == 5331
    assert any("é" in row["text"] for row in lines)

    table = read(source("sst2_dev_no_header.tsv", columns=["text", "label"]), messy)
    assert len(table) == 872
    assert {row["label"] for row in table} == {"0", "1"}

    german = read(source("val.de.gz"), messy)
    assert len(german) == 1014
    assert german[0]["text"].startswith("Eine Gruppe von Männern")


def test_real_formats(data):
    assert len(read(source("mnli/train.jsonl"), data)) == 2600
    assert len(read(source("multi30k/train.jsonl.gz"), data)) == 29000
    assert set(read(source("alpaca/alpaca_en_demo.json"), data)[0]) == {"instruction", "input", "output"}
