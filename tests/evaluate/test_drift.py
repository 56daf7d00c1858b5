import json

import pytest
import torch
from sums import both_ways, make_task
from tiny import tiny_model

from tenfold.adapters import Frame, Segment, compose
from tenfold.config import Config
from tenfold.errors import ConfigError, DataError
from tenfold.evaluate import Item, evaluate, measure_drift, read_results, read_texts, save
from tenfold.evaluate.cases import case_file, read_cases
from tenfold.evaluate.drift import GENERAL_TEXT, MOST, SPLIT
from tenfold.evaluate.tables import drift_table, table

TEXTS = ["The kettle whistles.", "Owls hear well", "A map leaves out more than it shows."]


def measured(bank, task, texts=TEXTS):
    items = both_ways(task)
    return measure_drift(bank, evaluate(bank, items), [task], texts)


def plain_logprobs(bank, tokens, composition=()):
    with torch.no_grad(), bank.use(Frame([Segment(0, len(tokens), composition)])):
        return bank.base.model(torch.tensor([tokens])).logits[0].log_softmax(-1)


def test_results_say_how_far_each_adapter_moves_the_base(bank, tmp_path):
    task = make_task(tmp_path, metrics=["loss"])
    save(tmp_path / "run", measured(bank, task), seed=4)
    found = {(one.metric, one.adapter): one for one in read_results(tmp_path / "run" / "results.json")}
    assert set(found) == {
        ("loss", "base"), ("loss", "sums"), ("kl_to_base", "sums"), ("general_loss", "base"), ("general_loss", "sums"),
    }  # fmt: skip
    tokenizer, own = bank.base.tokenizer, compose("sums")

    prompts = [tokenizer(example.prompt)["input_ids"] for example in task.eval_sets["eval"]]
    sides = [(plain_logprobs(bank, p), plain_logprobs(bank, p, own)) for p in prompts]
    nats = sum(float((a.exp() * (a - b)).sum()) for a, b in sides)
    moved = found["kl_to_base", "sums"]
    assert moved.value == pytest.approx(nats / sum(map(len, prompts)), rel=1e-4)
    assert moved.low < moved.value < moved.high
    assert (moved.n, moved.task, moved.split, moved.comparison) == (4, "sums", "eval", None)

    for adapter, composition in (("base", ()), ("sums", own)):
        rows = [tokenizer(text)["input_ids"] for text in TEXTS]
        values = [plain_logprobs(bank, row, composition)[range(len(row) - 1), row[1:]].sum() for row in rows]
        general = found["general_loss", adapter]
        assert general.value == pytest.approx(-float(sum(values)) / sum(len(row) - 1 for row in rows), rel=1e-4)
        assert (general.n, general.split, general.higher_is_better) == (3, SPLIT, False)
    gap = found["general_loss", "sums"].value - found["general_loss", "base"].value
    assert found["general_loss", "sums"].comparison.difference == pytest.approx(gap)


def test_the_tables_show_tasks_and_drift_apart(bank, tmp_path):
    results = save(tmp_path / "run", measured(bank, make_task(tmp_path, metrics=["loss"])))
    assert [(row.task, row.metric) for row in table(results)] == [("sums", "loss ↓")]
    (row,) = drift_table(results)
    assert (row.task, row.adapter) == ("sums", "sums")
    assert row.kl.startswith(f"{next(one.value for one in results if one.metric == 'kl_to_base'):.3f}"[:4])
    assert row.general.count("[") == row.base.count("[") == 1


def test_the_cases_keep_what_was_measured(bank, tmp_path):
    save(tmp_path, measured(bank, make_task(tmp_path, metrics=["loss"])))
    cases = read_cases(case_file(tmp_path / "cases", "sums", "sums"))
    assert [case.split for case in cases] == ["eval"] * 4 + [SPLIT] * 3
    assert all(case.kl > 0 and case.positions == len(case.prompt) for case in cases[:4])
    assert [case.expected for case in cases[4:]] == TEXTS
    plain = read_cases(case_file(tmp_path / "cases", "sums", "base"))
    assert all(case.kl is None for case in plain)


def test_a_large_set_is_sampled_evenly(bank, tmp_path):
    rows = [{"q": f"{number}", "a": "1"} for number in range(2 * MOST)]
    task = make_task(tmp_path, rows=rows, metrics=["loss"])
    items = [Item(task, "eval", "sums", compose("sums"))]
    one, _ = measure_drift(bank, evaluate(bank, items), [task], TEXTS)
    assert [case.index for case in one.cases if case.kl is not None] == [*range(0, 2 * MOST, 2)]


def test_an_untrained_adapter_moves_nothing(bank, tmp_path):
    for key, parameter in bank.parameters("sums").items():
        if key.endswith("b"):
            parameter.data.zero_()
    results = save(tmp_path / "run", measured(bank, make_task(tmp_path, metrics=["loss"])))
    found = {(one.metric, one.adapter): one.value for one in results}
    assert found["kl_to_base", "sums"] < 1e-9
    assert found["general_loss", "sums"] == pytest.approx(found["general_loss", "base"], rel=1e-6)


def test_general_text_is_lines_or_rows(tmp_path):
    assert len(read_texts()) == 60
    assert all(len(text.split()) > 5 for text in read_texts())
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert read_texts(tmp_path / "a.txt") == ["one", "two"]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x\ny"}) + "\n")
    assert read_texts(tmp_path / "a.jsonl") == ["x\ny"]
    (tmp_path / "b.jsonl").write_text(json.dumps({"words": "x"}) + "\n")
    with pytest.raises(DataError, match=r"general_text: .*b.jsonl: row 1 has no text in a column 'text'"):
        read_texts(tmp_path / "b.jsonl")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match=r"general_text: .*empty.txt has no rows"):
        read_texts(tmp_path / "empty.txt")


def test_the_config_names_a_file_beside_itself(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"q": "1", "a": "2"}\n')
    (tmp_path / "news.txt").write_text("It rained.\n")
    settings = {"base_model": "x", "tasks": {"a": {"path": "rows.jsonl", "prompt": "{q}", "response": "{a}"}}}
    assert Config.parse(settings, tmp_path).general_text is None
    config = Config.parse({**settings, "general_text": "news.txt"}, tmp_path)
    assert config.general_text == str(tmp_path / "news.txt")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "config.yaml").write_text(config.dump())
    assert Config.load(tmp_path / "again" / "config.yaml").general_text == config.general_text
    with pytest.raises(ConfigError, match=r"general_text: no such file: .*new.txt; did you mean 'news.txt'"):
        Config.parse({**settings, "general_text": "new.txt"}, tmp_path)


def test_the_plain_file_comes_with_the_package():
    assert GENERAL_TEXT.is_file()
    assert tiny_model().config.max_position_embeddings > max(len(text) for text in read_texts())
