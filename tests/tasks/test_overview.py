"""The page of ``tenfold data``: what is in it, and how it stands in a real browser."""

import re

import pytest
from shown import SIZES, check, fits, titles
from tokens import tiny_tokenizer

from tenfold import tasks
from tenfold.base import Coding
from tenfold.tasks import overview
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.tables import Grid

NASTY = '<script>alert(1)</script> "quoted" & <img src=x onerror=alert(2)>'


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    words = ["fine", "bad", "a film that goes on and on without an end", "the best film of this whole long year"]
    rows = [f"{words[i % 4]} {i}\t{'positive' if i % 3 else 'negative'}" for i in range(120)]
    (folder / "train.tsv").write_text(
        "\n".join(["text\tlabel", *rows, f"{NASTY}\tnegative", f"{rows[2][:-9]}!\tpositive"])
    )
    (folder / "held.tsv").write_text("\n".join(["text\tlabel", *rows[:9], f"new words here\t{NASTY}"]))
    settings = {"prompt": "Review: {text}", "label_column": "label"}
    both = [
        tasks.load("films", TaskSettings(path="train.tsv", eval_path="held.tsv", **settings), folder),
        tasks.load("other", TaskSettings(path="held.tsv", prompt="{label}", response="{text}"), folder),
    ]
    costs = [Grid(("stage", "lane", "tokens"), [("all", "films", "12,345")])]
    return overview.write(tasks.inspect(both, Coding(tiny_tokenizer())), "films: data", costs, ["time: unknown"])


def test_everything_is_there_and_what_rows_say_is_text(text):
    for wanted in ("12,345", "time: unknown", "Balance of the labels", "By label", "films eval"):
        assert wanted in text
    assert titles(text) == [
        "What looks wrong", "Splits", "What training takes", "Rows of films", "Rows of other",
        "Inputs that stand twice", "Rows as the model reads them",
    ]  # fmt: skip
    check(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &quot;quoted&quot;" in text
    assert not re.search("https?://", text)


def test_sections_that_would_be_empty_are_left_out(tmp_path):
    (tmp_path / "rows.tsv").write_text("text\tanswer\none two\tthree\nfour five\tsix\n")
    (tmp_path / "held.tsv").write_text("text\tanswer\nseven\teight\n")
    settings = TaskSettings(path="rows.tsv", eval_path="held.tsv", prompt="{text}", response="{answer}")
    report = tasks.inspect([tasks.load("plain", settings, tmp_path)], Coding(tiny_tokenizer()))
    assert report.warnings == []
    found = overview.write(report, "plain: data")
    assert titles(found) == ["What looks wrong", "Splits", "Rows of plain", "Rows as the model reads them"]
    assert "Nothing that is looked for." in found
    assert "By label" not in found


@pytest.fixture
def place(text, tmp_path):
    (tmp_path / "data.html").write_text(text, "utf-8")
    return tmp_path / "data.html"


@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_follows_the_system(place, show, size):
    for scheme in ("light", "dark"):
        page = show(place, size, scheme)
        assert page.locator("rect").first.bounding_box()["width"] > 1
        assert page.locator(".bar i").first.bounding_box()["width"] > 10
        assert fits(page)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) > 3 * 128) == (scheme == "light")


def test_its_tables_can_be_reached_with_a_keyboard(place, show):
    page = show(place, "narrow")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith("#What-looks-wrong")
    names = []
    for _ in range(20):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert list(dict.fromkeys(filter(None, names))) == [
        "splits", "training", "labels of films", "inputs that stand twice",
    ]  # fmt: skip
    assert page.locator(".scroll").first.evaluate("one => one.scrollWidth > one.clientWidth")
