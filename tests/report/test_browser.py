"""The pages in a real browser: Debian's chromium, headless."""

import pytest
from shown import SIZES, fits

from tenfold import report


@pytest.mark.parametrize("size", SIZES)
def test_a_run_fits_and_follows_the_system(show, trained, size):
    light, dark = (show(trained / "report.html", size, scheme) for scheme in ("light", "dark"))
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
        assert fits(show(folder / "report.html", size, "dark"))


def test_it_can_be_used_with_a_keyboard_alone(show, trained):
    page = show(trained / "report.html")
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
