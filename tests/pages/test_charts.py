"""Charts of plain elements: the bars are the rows."""

import re

import pytest
from shown import HOSTILE, check

from tenfold.pages import charts


def test_bars_are_the_rows():
    found = charts.histograms([("train", [0, 0, 5, 39, 39, 39], "six")], 39)
    assert re.findall(r"<title>(\d+) to (\d+): (\d+)</title>", found) == [
        ("0", "1", "2"), ("5", "6", "1"), ("39", "40", "3"),
    ]  # fmt: skip
    assert re.findall(r'height="([\d.]+)"', found) == ["66.67", "33.33", "100.00"]
    assert 'role="img" aria-label="train, six"' in found


def test_bars_are_cut_by_shares():
    found = charts.shares(("yes", "no"), [("train", (0.75, 0.25), "8 rows"), ("eval", (0.5, 0.5), "2 rows")])
    assert re.findall(r"width: ([\d.]+)%", found) == ["75.00", "25.00", "50.00", "50.00"]
    assert 'aria-label="yes: 75.0%, no: 25.0%"' in found
    hues = re.findall(r"--hue: (\d+)", found)
    assert len(set(hues)) == 2
    assert hues[:2] == hues[2:4] == hues[4:]  # both bars and their key


def test_nothing_is_drawn_of_nothing():
    assert charts.histograms([], 9) == charts.shares((), []) == charts.shares(("a",), []) == ""


def test_names_are_text():
    found = check(charts.histograms([(HOSTILE, [1], HOSTILE)], 1) + charts.shares([HOSTILE], [(HOSTILE, [1], HOSTILE)]))
    assert set(found.seen) == {"div", "span", "svg", "rect", "title", "i"}


@pytest.mark.parametrize("highest", [0, 1, 7, 39, 40, 1000])
def test_each_value_is_in_one_bin(highest):
    values = list(range(highest + 1))
    counts = charts.count(values, highest, 8)
    assert sum(counts) == len(values)
    assert max(counts) - min(counts) <= 1
