"""``tenfold data``: what training takes, and its page."""

import json

import pytest

from tenfold.cli import costs
from tenfold.cli.data import inspect
from tenfold.config import Config
from tenfold.progress import SILENT

OVERRIDES = ("tasks.upper.steps=6", "tasks.upper.micro_batch_size=2")


@pytest.fixture
def found(project):
    config = Config.load(project / "config.yaml", OVERRIDES)
    return config, inspect(config, SILENT).splits


def test_costs_are_those_of_the_rows_that_are_seen(found):
    config, splits = found
    grid, notes = costs.describe(config, splits, costs.Rate(tokens=100), SILENT)
    upper, sums = grid.rows
    each = sum(splits[0].lengths)  # five rows: batches of 2, 2 and 1, twice over
    assert upper[1:3] == ("upper", "5")
    assert upper[3:8] == (f"{each}", f"{splits[0].supervised}", "2", "6", f"{2 * each}")
    assert upper[8] == f"{2 * each / 100:.0f} s"
    assert sums[5:7] == ("2", "2")
    assert notes[0].endswith("at 100 tokens a second")
    assert notes[1].startswith("memory of stage 0: about ")


def test_without_a_rate_no_time_is_made_up(found):
    grid, notes = costs.describe(*found, None, SILENT)
    assert [row[8] for row in grid.rows] == ["", ""]
    assert notes[0] == "time: train once, or give --tokens-per-second, and it is estimated"


def test_the_rate_of_a_run_is_that_of_all_its_lanes(tmp_path):
    lines = [(1, "a", 4, 0.5), (1, "b", 4, 1.0), (2, "a", 2, 1.0)]
    records = [{"stage": 0, "step": n, "adapter": name, "rows": rows, "seconds": s} for n, name, rows, s in lines]
    records.append({"stage": 0, "step": 2, "adapter": "a", "validation_loss": 1.0})
    assert costs.measured(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert costs.measured(tmp_path) is None  # no run yet
    (tmp_path / "plan.json").write_text("{}")
    rate = costs.measured(tmp_path)
    assert rate.rows == 10 / 2
    assert rate.seconds(tokens=12345, rows=15) == 3


def test_the_page_and_the_rate_of_the_run_itself(tenfold, project):
    assert tenfold("train", project / "config.yaml")[0] == 0
    code, out, _ = tenfold("data", project / "config.yaml", "--html", project / "out" / "data.html", "--alike", 0)
    assert code == 0
    assert f"rows a second that {project / 'run'} went through" in " ".join(out.split())
    text = (project / "out" / "data.html").read_text("utf-8")
    assert "<title>config: data - tenfold</title>" in text
    assert "5 of 5" in text
    assert tenfold("data", project / "config.yaml", "--tokens-per-second", 0)[0] == 2
