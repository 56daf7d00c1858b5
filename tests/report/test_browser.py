"""The pages in a real browser: Debian's chromium, headless."""

import shutil
from pathlib import Path

import pytest
from pages import SHOTS

from tenfold import report

sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: apt-get install chromium")
SIZES = {"wide": {"width": 1280, "height": 860}, "narrow": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def show(browser):
    """Opens a page from its file; whatever it asks for, and every error in its console, fails the test."""
    contexts, wrong = [], []

    def show(folder, size="wide", scheme="light"):
        contexts.append(browser.new_context(viewport=SIZES[size], color_scheme=scheme))
        page, place = contexts[-1].new_page(), (folder / "report.html").as_uri()
        kept = (place, "data:,")
        page.on("request", lambda one: wrong.append(one.url) if one.url.partition("#")[0] not in kept else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text))
        page.goto(place)
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS) / f"{folder.name}-{size}-{scheme}.png"), full_page=True)
        return page

    yield show
    for context in contexts:
        context.close()
    assert not wrong


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", SIZES)
def test_a_run_fits_and_follows_the_system(show, trained, size):
    light, dark = (show(trained, size, scheme) for scheme in ("light", "dark"))
    papers = [page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (light, dark)]
    inks = [page.evaluate("getComputedStyle(document.querySelector('.plot text')).fill") for page in (light, dark)]
    assert papers[0] != papers[1]
    assert inks[0] != inks[1]
    assert fits(light)
    assert fits(dark)
    assert light.locator("svg.plot").count() == 7
    assert not light.locator("svg.plot").evaluate_all(
        "all => all.filter(one => one.getBoundingClientRect().height < 80).length"
    )


@pytest.mark.parametrize("size", SIZES)
def test_stages_and_sweeps_fit(show, staged, sweep, size):
    report.write(sweep)
    for folder in (staged, sweep):
        assert fits(show(folder, size, "dark"))


def test_it_can_be_used_with_a_keyboard_alone(show, trained):
    page = show(trained)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Results"
    page.keyboard.press("Enter")
    assert page.url.endswith("#Results")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "config.yaml":
            break
    page.keyboard.press("Enter")
    assert page.locator("details[open] pre").is_visible()
    assert "base_model" in page.locator("details[open] pre").inner_text()
