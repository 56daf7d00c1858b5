import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tenfold.config.document import read, value
from tenfold.config.dump import Dumper
from tenfold.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5e-4", 5e-4), ("1E3", 1000.0), (".5", 0.5), ("-3", -3), ("+1.5e+2", 150.0), (".inf", float("inf")),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True), ("False", False),
        ("", None), ("~", None), ("null", None), ("007", "007"), ("1:30", "1:30"), ("2024-01-02", "2024-01-02"),
        ("0,0002", "0,0002"), ("'5'", "5"), ("[1, no]", [1, "no"]), ("{1: a, true: b}", {"1": "a", "true": "b"}),
    ],
)  # fmt: skip
def test_scalars_are_read_as_yaml_1_2_has_them(text, expected):
    found = value(text, "here")
    assert found == expected
    assert type(found) is type(expected)


def test_every_key_knows_its_line():
    document = read("a: 1\nb:\n  c:\n    d: 2\n", "x.yaml")
    assert document.place(("b", "c", "d")) == (4, "x.yaml:4")
    assert document.place(("b", "c", "missing")) == (3, "x.yaml:3")
    assert document.place(("missing",)) == (0, "x.yaml")


def test_merged_keys_give_way_to_own_ones_and_keep_their_lines():
    document = read("base: &b\n  r: 1\n  s: 2\ntasks:\n  t:\n    s: 3\n    <<: *b\n", "x.yaml")
    assert document.values["tasks"]["t"] == {"r": 1, "s": 3}
    assert document.place(("tasks", "t", "s"))[1] == "x.yaml:6"
    assert document.place(("tasks", "t", "r"))[1] == "x.yaml:2"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "x.yaml:3: a: given twice, first at x.yaml:1"),
        ("t:\n  a: 1\n  a: 3", "x.yaml:3: t.a: given twice"),
        ("a: [1", "x.yaml:1: not YAML"),
        ("a: 1\n\tb: 2", "x.yaml:2: not YAML"),
        ("- 1", "must be keys with values, not list"),
        ("just text", "must be keys with values, not str"),
        ("a: 1\n---\nb: 2", "x.yaml:2: not YAML"),
        ("a: !!python/object/apply:os.system [ls]", None),
        ("a: !!python/name:os.system x", "python/name:os.system' is not allowed"),
        ("a: !!int x", "'x' is no int"),
        ("? [a]\n: 1", "a key must be text"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: &a {<<: *a}", "nested too deeply"),
        ("<<: 3", "<< needs a mapping"),
        ("a: \x00", "not YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "9" * 5000, "is no int"),
    ],
)
def test_what_cannot_be_read_is_one_line(text, says):
    if says is None:
        assert read(text, "x.yaml").values == {"a": ["ls"]}  # a tag on a list means nothing and runs nothing
        return
    with pytest.raises(ConfigError) as caught:
        read(text, "x.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_cannot_grow_without_end():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="too large"):
        read("\n".join(lines), "x.yaml")


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False)))
def test_what_is_dumped_is_read_again(values):
    text = yaml.dump(values, Dumper=Dumper, allow_unicode=True)
    assert {str(k): v for k, v in values.items()} == read(text, "x.yaml").values
