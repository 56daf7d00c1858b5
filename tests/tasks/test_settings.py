import pytest
import yaml
from pydantic import ValidationError

from tenfold.tasks.settings import SourceSettings, TaskSettings


def make(text):
    return TaskSettings.model_validate(yaml.safe_load(text))


def test_an_empty_value_means_unset():
    task = make("dataset_name:\ndataset_split:\nprompt_formate:\nrepeat:\nlabels:")
    assert task == TaskSettings()
    assert task.model_fields_set == set()


@pytest.mark.parametrize("name", ["prompt", "prompt_format", "prompt_formate"])
def test_the_prompt_has_three_names(name):
    assert make(f"{name}: 'Say {{x}}'").prompt == "Say {x}"


def test_two_names_at_once_are_an_error():
    with pytest.raises(ValidationError, match="prompt and prompt_format are names of one setting"):
        make("prompt: a\nprompt_format: b")


def test_labels_and_options_are_text():
    task = make("labels: {entailment: 0, 1: true}\noptions: [0, 1]")
    assert task.labels == {"entailment": "0", "1": "true"}
    assert task.options == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pth: x", "pth"),
        ("path: x\ndataset_name: y", "two sources"),
        ("path: x\ndataset_split: train", "go with dataset_name"),
        (
            "path: x\neval_sets: {a: {dataset_split: test}}",
            r"eval_sets.a: dataset_split .* need a dataset_name",
        ),
        ("encoding: utf-88", "unknown encoding 'utf-88'"),
        ("prompt: 'a {'", "stands for nothing"),
        ("val_set_size: 1.5", "neither a share"),
        ("validation_path: a\nval_set_size: 5", "validation_path and val_set_size"),
        ("eval_path: a\neval_sets: {eval: b}", "another name"),
        ("system: hi\nprompt_style: raw", "system needs prompt_style chat"),
        ("max_rows: 0", "max_rows"),
        ("options: [one]", "options"),
        ("eval_path: {encodin: x}", "eval_path.encodin"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        make(text)


def test_another_source_takes_what_it_does_not_say_from_the_task():
    task = make(
        "dataset_name: glue\ndataset_subset: mnli\nencoding: cp1252\nmax_rows: 5\n"
        "eval_sets: {matched: {dataset_split: validation_matched}, mine: mine.jsonl}"
    )
    matched, mine = (task.source(task.eval_sets[name]) for name in ("matched", "mine"))
    assert matched == SourceSettings(
        dataset_name="glue", dataset_subset="mnli", dataset_split="validation_matched", encoding="cp1252"
    )
    assert mine == SourceSettings(path="mine.jsonl", encoding="cp1252")
    assert task.source().max_rows == 5


def test_the_schema_describes_every_field():
    schema = TaskSettings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            assert field.get("description"), name
    options = schema["properties"]["eval_path"]["anyOf"]
    assert {"type": "string"} in options
    assert {"$ref": "#/$defs/SourceSettings"} in options
