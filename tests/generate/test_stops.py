"""Stop strings across tokens and inside of them, and characters that take several tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens import byte_tokenizer

from tenfold.errors import ConfigError
from tenfold.generate import Request
from tenfold.generate.stops import StopFinder

TOKENIZER = byte_tokenizer()


def run(tokens, stops):
    finder, seen = StopFinder(TOKENIZER, stops), []
    for token in tokens:
        seen.append(token)
        if (cut := finder.add(seen)) is not None:
            return finder.text[: cut[1]], seen[: cut[0]], len(seen)
    return finder.text, seen, len(seen)


SOME_STOPS = st.lists(st.text("ab\n\u00e9\u4e16", min_size=1, max_size=3), min_size=1, max_size=3)


@given(st.text("ab .\n\u00e9\u4e16\U0001f600", max_size=30), SOME_STOPS)
@settings(max_examples=150, deadline=None)
def test_cuts_where_the_whole_text_would_be_cut(text, stops):
    tokens = TOKENIZER(text)["input_ids"]
    found, kept, read = run(tokens, stops)
    places = [text.find(stop) for stop in stops if stop in text]
    if not places:
        assert found == text
        return
    # The first to be complete ends it, so text after that was never looked at.
    shown = TOKENIZER.decode(tokens[:read])
    assert found == shown[: min(shown.find(stop) for stop in stops if stop in shown)]
    assert found.startswith(TOKENIZER.decode(kept))


def test_stop_inside_a_token_drops_that_token():
    tokens = [*TOKENIZER("ok")["input_ids"], TOKENIZER.convert_tokens_to_ids(".Ċ")]
    assert run(tokens, ["\n"]) == ("ok.", tokens[:2], 3)


def test_bytes_that_never_make_a_character_do_not_hold_the_text_back():
    broken = TOKENIZER.convert_tokens_to_ids("ð")
    tokens = [broken] * 12 + TOKENIZER("end")["input_ids"]
    text, kept, _ = run(tokens, ["end"])
    assert kept == tokens[: len(kept)]
    assert set(text) == {"\ufffd"}


@pytest.mark.parametrize("stop", ["abc", ("",)])
def test_stop_is_a_tuple_of_strings(stop):
    with pytest.raises(ConfigError, match="stop"):
        Request([5], stop=stop)
