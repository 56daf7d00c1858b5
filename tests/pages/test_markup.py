"""Markup: whatever is given is text in it, unless it is markup already."""

import pytest
from hypothesis import given, strategies
from shown import HOSTILE, Balanced, check

from tenfold.pages.markup import Markup, element, escape, join, table
from tenfold.pages.page import POLICY, Page, Section


@given(strategies.text(), strategies.text())
def test_nothing_gets_out_of_an_element(name, text):
    made = element("p", text, title=name)
    found = Balanced(made)
    assert found.seen == ["p"]
    assert not found.open
    made.encode()


def test_attributes_are_left_out_or_stand_bare():
    assert element("a", 1, class_=None, hidden=False, open=True, aria_label="<") == '<a open aria-label="&lt;">1</a>'
    assert join(["<", Markup("<br>"), 2]) == "&lt;<br>2"


def test_columns_of_a_table():
    made = table(("a", "b", "c"), [("x", 1, "long")], left=(0, 2), long=(2,), name="said")
    assert '<td class="text">x</td><td>1</td><td class="text long">long</td>' in made
    assert 'tabindex="0" role="region" aria-label="said"' in made
    with pytest.raises(AssertionError):
        table(("a", "b"), [("x",)])


def test_a_page_of_what_is_meant_to_spoil_it():
    sections = [Section(name, element("p", HOSTILE)) for name in ("Rows of a", "Rows of A", HOSTILE)]
    text = Page(HOSTILE, HOSTILE, [HOSTILE], sections, HOSTILE).html()
    found = check(text)
    assert found.identifiers[:2] == ["Rows-of-a", "Rows-of-A"]
    assert HOSTILE not in text
    assert text.count(escape(HOSTILE)) == 3 + 3 + 2 + 2  # contents; head; titles; foot and tab
    assert f'http-equiv="Content-Security-Policy" content="{POLICY}"' in text
