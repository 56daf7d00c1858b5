import itertools
import json
import re

import pytest

from tenfold.config import Config, schema
from tenfold.config.keys import kind_settings, task_keys, top_keys
from tenfold.errors import ConfigError


def references(inside):
    if isinstance(inside, dict):
        for key, value in inside.items():
            if key == "$ref":
                yield value
            yield from references(value)
    elif isinstance(inside, list):
        for value in inside:
            yield from references(value)


def test_the_schema_knows_every_key_and_no_other():
    found = json.loads(json.dumps(schema()))
    assert set(found["properties"]) == top_keys()
    assert set(found["$defs"]["Task"]["properties"]) == task_keys()
    assert found["additionalProperties"] is found["$defs"]["Task"]["additionalProperties"] is False
    for reference in references(found):
        assert reference.removeprefix("#/$defs/") in found["$defs"]


def test_every_key_is_described():
    found = schema()
    for properties in (found["properties"], found["$defs"]["Task"]["properties"]):
        bare = [key for key, value in properties.items() if "description" not in value and key != "tasks"]
        assert bare == []


def test_the_schemas_defaults_are_the_configs(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    config = Config.parse({"base_model": "m", "tasks": {"t": {"path": "rows.csv"}}}, tmp_path)
    task = config.task("t")
    for key, value in schema()["properties"].items():
        if "default" in value and key != "output_dir":
            kinds = [kind() for kind in kind_settings().values()]
            holders = [part for part in (config, task.training, task.task, *kinds) if hasattr(part, key)]
            assert getattr(holders[0], key) == value["default"], key


ONE = ["lora", "fff", "ia3", "qlora", "full", "lore", ""]
ADAPTERS = [None, *("+".join(kinds) for count in (1, 2, 3) for kinds in itertools.product(ONE, repeat=count))]


@pytest.mark.parametrize("place", ["top", "task"])
def test_the_schema_and_the_config_allow_the_same_adapters(place, tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    found = schema()
    members = (found if place == "top" else found["$defs"]["Task"])["properties"]["adapter"]["anyOf"]
    allowed = {given for given in ADAPTERS if any(fits(member, given) for member in members)}
    assert allowed == {given for given in ADAPTERS if loads(place, given, tmp_path)}
    assert {"lora", "lora+fff", "ia3+fff+lora", "full", None} <= allowed
    assert ("qlora" in allowed) == (place == "top")


def fits(member, given):
    """As JSON schema has it, for the two kinds of member that there are."""
    return (
        given in member["enum"] if "enum" in member else given is not None and bool(re.search(member["pattern"], given))
    )


def loads(place, given, folder):
    task = {"path": "rows.csv"}
    top, own = ({"adapter": given}, {}) if place == "top" else ({}, {"adapter": given})
    try:
        Config.parse({"base_model": "m", **top, "tasks": {"t": {**task, **own}}}, folder)
    except ConfigError:
        return False
    return True
