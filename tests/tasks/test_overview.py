"""The page of ``tenfold data``: what is in it, and how it stands in a real browser."""

import os
import re
import shutil
from pathlib import Path

import pytest
from tokens import tiny_tokenizer

from tenfold import tasks
from tenfold.base import Coding
from tenfold.tasks import overview, page
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.tables import Grid

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = os.environ.get("TENFOLD_SHOTS")  # a folder, to look at the page after the tests
SCREENS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
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
    for wanted in ("What looks wrong", "12,345", "time: unknown", "Balance of the labels", "By label", "films eval"):
        assert wanted in text
    assert "<script" not in text
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &quot;quoted&quot;" in text
    assert not re.search(r"""(?:src|href)="|url\(|@import|https?://""", text)


def test_bars_are_the_rows():
    found = page.histograms([("train", [0, 0, 5, 39, 39, 39], "six")], 39)
    assert re.findall(r"<title>(\d+) to (\d+): (\d+)</title>", found) == [
        ("0", "1", "2"), ("5", "6", "1"), ("39", "40", "3"),
    ]  # fmt: skip
    assert re.findall(r'height="([\d.]+)"', found) == ["66.67", "33.33", "100.00"]
    assert page.table(("a",), []) == page.section("x", "") == page.histograms([], 9) == page.lines([]) == ""


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium")
def test_in_a_browser(text, tmp_path):
    api = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright")
    (tmp_path / "data.html").write_text(text, "utf-8")
    wrong = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, width in SCREENS:
            view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            view.on("request", lambda one: wrong.append(one.url) if not one.url.startswith("file:") else None)
            view.on("pageerror", lambda error: wrong.append(str(error)))
            view.on("console", lambda line: wrong.append(line.text))
            view.on("dialog", lambda dialog: wrong.append(dialog.message))
            view.goto((tmp_path / "data.html").as_uri())
            assert view.locator("section").count() == 7
            assert view.locator("rect").first.bounding_box()["width"] > 1
            assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
            paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", paper))) > 3 * 128) == (scheme == "light")
            if SHOTS:
                view.screenshot(path=str(Path(SHOTS) / f"data-{scheme}-{width}.png"), full_page=True)
        browser.close()
    assert not wrong
