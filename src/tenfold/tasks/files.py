"""Reads local files of rows: JSON, JSONL, CSV, TSV, Parquet, text, each also compressed with gzip."""

import csv
import gzip
import io
import json
import pathlib
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow
import pyarrow.parquet

from tenfold.errors import DataError
from tenfold.tasks.settings import SourceSettings

Rows = list[dict[str, Any]]
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_file(path: pathlib.Path, source: SourceSettings) -> Rows:
    """All rows of a file. Raises DataError, naming file and line, for whatever is wrong with it."""
    content = _content(path)
    suffix = pathlib.Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix == ".parquet":
        return _parquet(content, path)
    text = _decode(content, path, source.encoding)
    if source.delimiter and suffix not in (".json", ".jsonl"):
        suffix = ".csv"
    return READERS.get(suffix, _lines)(text, path, source)


def _content(path: pathlib.Path) -> bytes:
    if not path.exists():
        raise DataError(f"{path}: no such file{_neighbours(path)}")
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file; for the folder of a data set use dataset_name")
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.name.lower().endswith(".gz") else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _neighbours(path: pathlib.Path) -> str:
    if not path.parent.is_dir():
        return f", nor the folder {path.parent}"
    found = sorted(
        p.name for p in path.parent.iterdir() if p.is_file() and p.stem.split(".")[0] == path.stem.split(".")[0]
    )
    return f"; there is {', '.join(found[:5])}" if found else ""


def _decode(content: bytes, path: pathlib.Path, encoding: str | None) -> str:
    try:
        text = content.decode(encoding or "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        guess = MARKS.get(content[:2], "cp1252")
        raise DataError(
            f"{path}:{line}: byte {error.start} (0x{content[error.start]:02x}) is not {encoding or 'utf-8'}; "
            f"try `encoding: {guess if guess != encoding else 'latin-1'}`"
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: not a text file (it has NUL bytes); known are JSON, JSONL, CSV, TSV, Parquet, text")
    return text


def _json(text: str, path: pathlib.Path, source: SourceSettings) -> Rows:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # rows one a line under the name .json
            return _jsonl(text, path, source)
        raise DataError(f"{path}:{error.lineno}: broken JSON ({error.msg}, column {error.colno})") from None
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    if not isinstance(found, list):
        raise DataError(f'{path}: expected a list of rows or {{"data": [rows]}}, found {_kind(found)}')
    return [_object(row, f"{path}: row {number}") for number, row in enumerate(found, 1)]


def _jsonl(text: str, path: pathlib.Path, source: SourceSettings) -> Rows:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut at U+2028 inside a string
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: broken JSON ({error.msg}, column {error.colno})") from None
        rows.append(_object(row, f"{path}:{number}"))
    return rows


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with named columns, found {_kind(row)}")
    return row


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(repr, list(value)[:5])) or 'nothing in it'}"
    return {list: "a list", str: "a text", type(None): "null"}.get(type(value), f"{value!r}")


def _table(text: str, path: pathlib.Path, source: SourceSettings) -> Rows:
    """Rows of fields. A line's number is that of its last line where a quoted field holds newlines."""
    lines = csv.reader(io.StringIO(text, newline=""), **_dialect(path, source))
    csv.field_size_limit(sys.maxsize)
    names, rows = source.columns, []
    try:
        for fields in lines:
            if not fields:
                continue
            if names is None:
                names = _header(fields, path)
            elif len(fields) != len(names):
                raise DataError(
                    f"{path}:{lines.line_num}: {len(fields)} fields, but there are {len(names)} columns "
                    f"({', '.join(names)})"
                )
            else:
                rows.append(dict(zip(names, fields, strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}:{lines.line_num}: broken CSV ({error})") from None
    return rows


def _dialect(path: pathlib.Path, source: SourceSettings) -> dict[str, Any]:
    """TSV gives quotes no meaning (IANA text/tab-separated-values), unless a delimiter is asked for."""
    if source.delimiter is None and ".tsv" in path.name.lower():
        return {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "strict": True}
    return {"delimiter": source.delimiter or ",", "strict": True}


def _header(fields: list[str], path: pathlib.Path) -> list[str]:
    twice = sorted({name for name in fields if fields.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: the header names {', '.join(map(repr, twice))} twice")
    return fields


def _lines(text: str, path: pathlib.Path, source: SourceSettings) -> Rows:
    names = source.columns or ["text"]
    if len(names) > 1:
        raise DataError(f"{path}: plain text has one column, not {', '.join(names)}; `delimiter` makes it a table")
    return [{names[0]: line.rstrip("\r")} for line in text.split("\n") if line.strip()]


def _parquet(content: bytes, path: pathlib.Path) -> Rows:
    try:
        rows: Rows = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: broken Parquet ({' '.join(str(error).split())[:200]})") from None
    return rows


READERS: dict[str, Callable[[str, pathlib.Path, SourceSettings], Rows]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".csv": _table,
    ".tsv": _table,
}
