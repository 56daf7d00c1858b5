import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.errors import ConfigError
from tenfold.tasks.prompts import Template, as_text

COLUMNS = st.sampled_from(["premise", "hypothesis", "a b", "x.y", "0"])
LITERALS = st.text(max_size=20)


@given(st.lists(st.tuples(LITERALS, COLUMNS)), LITERALS, st.dictionaries(COLUMNS, st.text(), min_size=0))
def test_any_text_around_any_values_comes_out_as_it_went_in(pieces, end, values):
    row = {name: values.get(name, "{premise}}") for _, name in pieces}
    written = "".join(escape(text) + "{" + name + "}" for text, name in pieces) + escape(end)
    assert Template.parse(written).fill(row) == "".join(text + row[name] for text, name in pieces) + end


@given(st.text(alphabet="{}ab\n", max_size=12))
def test_every_template_parses_or_names_the_brace(text):
    error = find_error(text)
    assert error is None or ("{{ and }} for braces" in error and "\n" not in error)


def find_error(text):
    try:
        template = Template.parse(text)
    except ConfigError as error:
        return str(error)
    template.fill(dict.fromkeys(template.columns, "{"))
    return None


def escape(text):
    return text.replace("{", "{{").replace("}", "}}")


def test_braces_in_data_are_data():
    assert Template.parse("{a} {{{b}}}").fill({"a": "{b} {{", "b": "}"}) == "{b} {{ {}}"


def test_columns_are_named_once_in_order():
    assert Template.parse("{b}{a}{b}{{c}}").columns == ("b", "a")


@pytest.mark.parametrize("text", ["a { b", "}", "first\n{}"])
def test_a_lone_brace_is_an_error(text):
    with pytest.raises(ConfigError, match=r"write \{name\} for a column"):
        Template.parse(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [("é", "é"), (None, ""), (True, "true"), (0, "0"), (1.5, "1.5"), ({"a": ["é"]}, '{"a": ["é"]}')],
)
def test_values_as_text(value, text):
    assert as_text(value) == text
