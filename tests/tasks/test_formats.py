import pytest

from tenfold.errors import ConfigError, DataError
from tenfold.tasks.formats import build, fill_prompt
from tenfold.tasks.settings import TaskSettings

FLORA = """
You are given a premise and a hypothesis below. If the premise entails the
hypothesis, return 0. If the premise contradicts the hypothesis, return 2.
Otherwise, if the premise does neither, return 1.

### Premise: {premise}

### Hypothesis: {hypothesis}

### Label: {label}
"""
FLORA_SETTINGS = {
    "prompt_style": "raw",
    "prompt": FLORA.removesuffix("{label}\n"),
    "response": "{label}\n",
    "labels": {"entailment": 0, "neutral": 1, "contradiction": 2},
}


def examples(rows, **settings):
    return build(rows, TaskSettings(**settings), "rows.jsonl")


def user(text):
    return ({"role": "user", "content": text},)


def test_flora_to_the_character():
    row = {"premise": "A {cat} sat.", "hypothesis": "It {{stood}}.", "label": "contradiction"}
    [example] = examples([row], **FLORA_SETTINGS)
    assert example.prompt + example.response == FLORA.format(**{**row, "label": 2})
    assert example.prompt.endswith("### Label: ")
    assert (example.response, example.label) == ("2\n", "2")
    assert example.content == "A {cat} sat.\nIt {{stood}}."


def test_flora_on_real_rows(data):
    from tenfold.tasks.settings import SourceSettings
    from tenfold.tasks.sources import read

    rows = read(SourceSettings(path="mnli/train.jsonl"), data)
    numbers = {"entailment": 0, "neutral": 1, "contradiction": 2}
    for row, example in zip(rows, examples(rows, **FLORA_SETTINGS), strict=True):
        assert example.prompt + example.response == FLORA.format(**{**row, "label": numbers[row["label"]]})


ALPACA = {"instruction": "Add.", "input": "1 2", "output": "3"}


def test_alpaca_is_found_from_its_columns():
    first, second = examples([ALPACA, {**ALPACA, "input": ""}])
    assert first.prompt == user("Add.\n\n1 2")
    assert second.prompt == user("Add.")
    assert first.response == "3"


def test_alpaca_raw_is_stanfords():
    first, second = examples([ALPACA, {"instruction": "Hi", "output": "Ho"}], prompt_style="raw")
    assert first.prompt.endswith(
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n"
    )
    assert second.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\nHi\n\n### Response:\n"
    )


def test_alpaca_with_a_prompt_as_lora_pytorch_has_it():
    prompt = "Article:\n{instruction}{input}\n\nSummarize of the article: \n"
    settings = TaskSettings(prompt_format=prompt, prompt_style="raw")
    [example] = build([{"instruction": "Text", "output": "Short"}], settings, "x")
    assert example.prompt == "Article:\nText\n\nSummarize of the article: \n"
    assert fill_prompt({"instruction": "Text"}, settings) == example.prompt


def test_prompt_and_completion():
    [example] = examples([{"prompt": "a", "completion": "b"}], system="Be brief.")
    assert example.prompt == ({"role": "system", "content": "Be brief."}, *user("a"))
    assert example.response == "b"


def test_templates_decide_over_columns():
    row = {"prompt": "a", "completion": "b", "extra": "c"}
    [example] = examples([row], prompt="{extra}: {prompt}", response="<{completion}>")
    assert (example.prompt, example.response) == (user("c: a"), "<b>")


def test_label_column_is_the_response_by_default():
    [example] = examples([{"text": "t", "sentiment": 1}], prompt="{text}", label_column="sentiment")
    assert (example.response, example.label) == ("1", "1")


def test_options_are_labels():
    [example] = examples([{"t": "x", "a": "yes"}], prompt="{t}", response=" {a}", options=["yes", "no"])
    assert (example.response, example.label) == (" yes", "yes")


def test_messages_end_with_the_last_answer():
    turns = [("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5")]
    messages = [{"role": role, "content": content} for role, content in turns]
    [example] = examples([{"messages": messages}], system="S")
    assert example.prompt == ({"role": "system", "content": "S"}, *messages[:3])
    assert (example.response, example.content) == ("4", "1\n2\n3")


def test_messages_in_parts():
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "c"}]}
    assert examples([row])[0].prompt == user("ab")


NLI = {"premise": "p", "hypothesis": "h", "label": "neutral"}
MESSAGE = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("row", "settings", "message"),
    [
        (NLI, {}, r"prompt: needed for the columns of rows.jsonl \(premise, hypothesis, label\)"),
        (NLI, {"prompt": "{premise}"}, "response: needed .* or label_column"),
        (
            NLI,
            {"prompt": "{premis}", "response": "{label}"},
            r"prompt: \{premis\} is no column of rows.jsonl; there are premise, .*; did you mean 'premise'\?",
        ),
        (NLI, {"prompt": "x", "response": "{lable}"}, "response: .*did you mean 'label'"),
        (NLI, {"prompt": "x", "label_column": "gold"}, r"label_column: \{gold\}|response: \{gold\}"),
        (
            NLI,
            {"prompt": "x", "response": "{label}", "labels": {"yes": 1}},
            "row 1: label 'neutral' is none of yes",
        ),
        (NLI, {"prompt": "x", "response": "{label}{premise}", "labels": {"a": 1}}, "label_column: which"),
        (NLI, {"prompt": "x", "response": "{label}", "options": ["a", "b"]}, "'neutral' is none of a, b"),
        (NLI, {"data_format": "alpaca"}, "data_format: alpaca needs {instruction} is no column"),
        ({**NLI, "label": None}, {"prompt": "x", "response": "{label}"}, "row 1: column 'label' .* is null"),
        ({"messages": []}, {}, "row 1: messages are no list"),
        ({"messages": [MESSAGE]}, {}, "no message of the assistant"),
        ({"messages": [{"role": "bot", "content": "a"}]}, {}, "message 1: the role is none of"),
        ({"messages": [{"role": "user", "content": None}]}, {}, "message 1: the content is no text"),
        ({"messages": [MESSAGE]}, {"prompt_style": "raw"}, "chat template alone"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(row, settings, message):
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        examples([row], **settings)
    assert "\n" not in str(caught.value)


def test_a_row_without_a_column_is_named():
    with pytest.raises(DataError, match=r"rows.jsonl: row 2 has no column 'b'"):
        examples([{"a": 1, "b": 2}, {"a": 1}], prompt="{a}", response="{b}")


def test_a_table_without_header_gives_a_hint():
    with pytest.raises(DataError, match="`columns`"):
        build([{"one long string": "x", "0": "1"}], TaskSettings(prompt="{text}", response="{label}"), "a.tsv")


def test_fill_prompt_names_a_missing_column():
    with pytest.raises(DataError, match=r"prompt: \{premise\} is no column of the request; there are hypothesis"):
        fill_prompt({"hypothesis": "x"}, TaskSettings(prompt="{premise}", response="x"))


def test_sharegpt_is_messages_by_other_names():
    turns = [("human", "one?"), ("gpt", "1"), ("user", "two?"), ("assistant", "2"), ("human", "left out")]
    row = {"conversations": [{"from": role, "value": text} for role, text in turns], "system": "Count."}
    messages = [{"role": "system", "content": "Count."}] + [
        {"role": ("user", "assistant")[place % 2], "content": text} for place, (_, text) in enumerate(turns)
    ]
    [found] = examples([row])
    [plain] = examples([{"messages": messages}])
    assert (found.prompt, found.response, found.content) == (plain.prompt, "2", plain.content)
    for wrong in ({"conversations": "text"}, {"conversations": [{"from": "narrator", "value": "x"}]}, {}):
        with pytest.raises(DataError, match=r"rows\.jsonl"):
            examples([wrong], data_format="sharegpt")
