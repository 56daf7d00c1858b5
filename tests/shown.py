"""What pages are looked at with in these tests: a parser, and screens for a browser."""

import os
import re
import shutil
from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script> & <img src=x onerror=alert(2)>"
SHOTS = os.environ.get("TENFOLD_SHOTS")  # a folder, to look at the pages after the tests
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SIZES = {"wide": {"width": 1280, "height": 860}, "narrow": {"width": 390, "height": 844}}
VOID = {"meta", "link", "br", "img"}


class Balanced(HTMLParser):
    """Collects elements, and what is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.seen, self.identifiers, self.links = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        named = dict(attrs)
        self.identifiers += [named["id"]] if "id" in named else []
        self.links += [value for key, value in attrs if key in ("href", "src", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def check(text):
    """That a page is whole, runs nothing and asks for nothing -> what was found in it."""
    page = Balanced(text)
    assert not page.open
    assert not page.wrong
    assert "script" not in page.seen
    assert "img" not in page.seen
    assert len(page.identifiers) == len(set(page.identifiers))
    assert all(link.startswith(("#", "data:")) for link in page.links), page.links
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.identifiers)
    assert not re.search(r"@import|url\((?!#)", text)
    return page


def titles(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def fits(page):
    """Whether nothing of a page that a browser shows stands out to the right."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")
