import json

from tenfold.config import Config, schema
from tenfold.config.keys import kind_settings, task_keys, top_keys


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
