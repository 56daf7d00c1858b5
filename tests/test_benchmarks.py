import json
import pathlib
import socket
import sys

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import record  # noqa: E402
import report  # noqa: E402

RESULTS = {
    "ratio": 3.71828,
    "same losses": True,
    "speed": {
        "peft": {"median": 16.3, "examples_per_second": 0.98},
        "tenfold": {"median": 3.6, "examples_per_second": 4.44},
    },
    "rows": [{"batch": 16, "note": "a|b"}, {"batch": 32000.5}],
    "deep": {"inner": {"list": [1, 2]}},
}


def test_a_record_says_where_its_numbers_come_from(tmp_path):
    path = record.record("speed_of_x", RESULTS, "python benchmarks/x.py", tmp_path)
    assert path.name == "speed_of_x.json"
    found = json.loads(path.read_text())
    assert found["results"] == RESULTS
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"].keys() >= {"python", "transformers", "peft", "tenfold"}
    assert found["machine"]["threads"] == torch.get_num_threads()
    assert found["machine"]["memory_gb"] > 0


def test_a_record_names_no_host_and_no_path(tmp_path):
    text = record.record("x", {}, "python benchmarks/x.py", tmp_path).read_text()
    assert socket.gethostname() not in text
    assert str(ROOT) not in text


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError):
        record.record("x", {"speed": float("nan")}, "x", tmp_path)


def test_a_summary():
    assert record.summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3}


def test_the_peak_is_a_plausible_rate():
    assert 0.05 < record.measure_peak(side=256, rounds=3) < 100_000


def test_the_page_holds_every_number(tmp_path):
    record.record("b", RESULTS, "python benchmarks/b.py", tmp_path)
    record.record("a", {"ratio": 2}, "python benchmarks/a.py", tmp_path)
    text = report.page(tmp_path)
    assert text.index("## A") < text.index("## B")
    for line in (
        "`python benchmarks/b.py`",
        "| ratio | 3.718 |",
        "| peft | 16.3 | 0.98 |",
        "| batch | note |",
        "| 16 | a\\|b |",
        "| 32,000 |  |",
        "#### Inner",
    ):
        assert line in text, line


def test_check_finds_a_stale_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    record.record("a", {"ratio": 2}, "a", tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", "--check"])
    assert report.main() == 1
    assert "stale" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["report.py"])
    assert report.main() == 0
    monkeypatch.setattr(sys, "argv", ["report.py", "--check"])
    assert report.main() == 0
    record.record("a", {"ratio": 3}, "a", tmp_path)
    assert report.main() == 1


def test_the_page_in_docs_is_made_from_the_results_that_are_kept():
    assert report.PAGE.read_text("utf-8") == report.page(report.RESULTS)
