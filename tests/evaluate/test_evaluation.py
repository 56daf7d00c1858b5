import json
import math

import pytest
import torch
from sums import ROWS, both_ways, make_task
from tiny import tiny_model
from tokens import tiny_tokenizer

from tenfold.adapters.composition import compose
from tenfold.base.model import Base
from tenfold.errors import AdapterError, ConfigError, DataError
from tenfold.evaluate.cases import BEFORE, case_folder
from tenfold.evaluate.evaluation import Item, evaluate
from tenfold.evaluate.preparation import choose_metrics, find_options, prepare
from tenfold.evaluate.results import read_results
from tenfold.evaluate.summary import save, summarise
from tenfold.evaluate.tables import table
from tenfold.tasks.settings import TaskSettings
from tenfold.tasks.task import Task


def plain_nats(tokens, start):
    """What transformers says of tokens[start:] with the base alone."""
    with torch.no_grad():
        logits = tiny_model()(torch.tensor([tokens])).logits[0].log_softmax(-1)
    return -sum(logits[i - 1, tokens[i]].item() for i in range(start, len(tokens)))


def test_the_base_is_measured_as_transformers_measures_it(bank, tmp_path):
    task = make_task(tmp_path, metrics=["exact_match", "loss", "perplexity"], max_new_tokens=4)
    (found,) = evaluate(bank, [Item(task, "eval")])
    tokenizer = bank.base.tokenizer
    for case, row in zip(found.cases, ROWS, strict=True):
        prompt = tokenizer(row["q"] + "=")["input_ids"]
        answer = [*tokenizer(row["a"])["input_ids"], tokenizer.eos_token_id]
        assert case.prompt == row["q"] + "="
        assert case.expected == row["a"]
        assert case.tokens == len(answer)
        assert case.nats == pytest.approx(plain_nats(prompt + answer, len(prompt)), abs=1e-3)
        with torch.no_grad():
            told = tiny_model().generate(
                torch.tensor([prompt]), max_new_tokens=4, do_sample=False, eos_token_id=tokenizer.eos_token_id
            )
        text = tokenizer.decode(told[0, len(prompt) :], skip_special_tokens=True)
        assert case.answer == text
        assert case.correct == (text.strip() == row["a"])
    nats, tokens = sum(c.nats for c in found.cases), sum(c.tokens for c in found.cases)
    values = {result.metric: result.value for result in summarise([found])}
    assert values["loss"] == pytest.approx(nats / tokens)
    assert values["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert found.seconds > 0


def test_all_compositions_at_once_are_what_each_is_alone(bank, tmp_path):
    tasks = [make_task(tmp_path, n, metrics=["exact_match", "loss"], max_new_tokens=3) for n in ("sums", "words")]
    both = compose("sums", ("words", 0.5))
    items = [
        Item(task, "eval", label, composition)
        for task in tasks
        for label, composition in {"base": (), task.name: compose(task.name), "both": both}.items()
    ]
    assert [(i.task.name, i.adapter) for i in items] == [
        (task, label) for task in ("sums", "words") for label in ("base", task, "both")
    ]
    together = evaluate(bank, items)
    for item, found in zip(items, together, strict=True):
        (alone,) = evaluate(bank, [item])
        for one, other in zip(found.cases, alone.cases, strict=True):
            assert (one.answer, one.tokens) == (other.answer, other.tokens)
            assert one.nats == pytest.approx(other.nats, abs=1e-3)
    assert together[0].cases[0].nats != pytest.approx(together[1].cases[0].nats, abs=1e-2)


def test_options_are_scored_with_eos_and_nothing_is_generated(bank, tmp_path):
    task = make_task(tmp_path, options=["1", "3", "4"], response=" {a}")
    (found,) = evaluate(bank, [Item(task, "eval")])
    tokenizer = bank.base.tokenizer
    assert [measure.name for measure in found.measures] == ["option_likelihood"]
    case = found.cases[1]
    assert case.answer is None
    for option, logprob in case.options.items():
        prompt = tokenizer("one=")["input_ids"]
        tokens = [*prompt, *tokenizer(" " + option)["input_ids"], tokenizer.eos_token_id]
        assert -logprob == pytest.approx(plain_nats(tokens, len(prompt)), abs=1e-3)
    assert case.extracted == max(case.options, key=case.options.get)
    assert case.correct == (case.extracted == "1")


def test_loss_on_everything_counts_the_prompt_but_options_do_not(bank, tmp_path):
    task = make_task(tmp_path, options=["1", "3", "4"], train_on_inputs=True, metrics=["loss", "option_likelihood"])
    (found,) = evaluate(bank, [Item(task, "eval")])
    case = found.cases[0]
    assert case.tokens == len("two and two=") - 1 + 2
    assert case.nats > -case.options["4"]


def test_everything_is_kept_and_compared_with_the_base(bank, tmp_path):
    task = make_task(tmp_path, metrics=["loss", "exact_match"], max_new_tokens=2)
    sets = evaluate(bank, both_ways(task))
    results = save(tmp_path / "run", sets, seed=3)
    assert sorted(p.name for p in (tmp_path / "run" / "cases").iterdir()) == [
        "sums.base.jsonl",
        "sums.sums.jsonl",
    ]
    assert read_results(tmp_path / "run" / "results.json") == results
    base, adapted = (next(r for r in results if (r.metric, r.adapter) == ("loss", a)) for a in ("base", "sums"))
    assert base.comparison is None
    assert adapted.comparison.difference == pytest.approx(adapted.value - base.value)
    assert adapted.seed == 3
    rows = table(results)
    assert [(row.metric, row.adapter) for row in rows] == [("loss ↓", "sums"), ("exact_match", "sums")]
    assert rows[0].base.startswith(f"{base.value:.3f}" if base.value < 10 else f"{base.value:.1f}")
    again = save(tmp_path / "run", sets[1:], seed=3)
    assert len(read_results(tmp_path / "run" / "results.json")) == len(results)
    assert again[0].comparison is None


def test_named_sets_keep_their_cases_in_one_file(bank, tmp_path):
    make_task(tmp_path)
    sets = {"near": "sums.jsonl", "far": {"path": "sums.jsonl", "max_rows": 2}}
    task = make_task(tmp_path, eval_path=None, eval_sets=sets, metrics=["loss"])
    save(tmp_path, evaluate(bank, both_ways(task)))
    save(tmp_path, evaluate(bank, [Item(task, "far", "sums", compose("sums"))]))
    lines = (tmp_path / "cases" / "sums.sums.jsonl").read_text().splitlines()
    assert [json.loads(line)["split"] for line in lines] == ["near"] * 4 + ["far"] * 2
    assert {row.task for row in table(read_results(tmp_path / "results.json"))} == {
        "sums (near)",
        "sums (far)",
    }


def test_what_a_task_is_measured_by_when_it_does_not_say(tmp_path):
    free = make_task(tmp_path)
    assert [m.name for m in choose_metrics(free, free.eval_sets["eval"])] == ["exact_match", "loss"]
    labelled = make_task(tmp_path, labels={"4": "four", "1": "one", "3": "three"})
    assert find_options(labelled.settings, labelled.eval_sets["eval"]) == ["four", "one", "three"]
    wrapped = make_task(tmp_path, labels={"4": "four", "1": "one", "3": "three"}, response="it is {a}")
    assert [m.name for m in choose_metrics(wrapped, wrapped.eval_sets["eval"])] == ["exact_match", "loss"]


def test_the_longest_answer_sets_how_much_is_generated(tmp_path):
    base = Base(tiny_model(), tiny_tokenizer(), "tiny", "0")
    task = make_task(tmp_path, rows=[{"q": "x", "a": "y" * 99}, {"q": "x", "a": "y"}])
    assert prepare(task, "eval", base).max_new_tokens == 125
    assert prepare(make_task(tmp_path), "eval", base).max_new_tokens == 10
    assert prepare(make_task(tmp_path, max_new_tokens=5), "eval", base).max_new_tokens == 5


def test_mistakes_are_named_before_anything_runs(bank, tmp_path):
    with pytest.raises(ConfigError, match=r"tasks\.sums\.metrics: unknown metric 'blue'.*did you mean 'bleu'"):
        evaluate(bank, [Item(make_task(tmp_path, metrics=["blue"]), "eval")])
    with pytest.raises(ConfigError, match=r"tasks\.sums\.metrics: option_likelihood needs all possible responses"):
        evaluate(bank, [Item(make_task(tmp_path, metrics=["option_likelihood"]), "eval")])
    with pytest.raises(DataError, match=r"'sums' has no rows in split 'evil'; it has train, eval; did you mean 'eval'"):
        evaluate(bank, [Item(make_task(tmp_path), "evil")])
    with pytest.raises(AdapterError, match="nobody"):
        evaluate(bank, [Item(make_task(tmp_path), "eval", "nobody", compose("nobody"))])
    with pytest.raises(DataError, match="has no rows in split 'eval'; it has none"):
        evaluate(bank, [Item(Task("empty", TaskSettings()), "eval")])
    with pytest.raises(
        DataError, match=r"tasks\.sums: row 2 of 'eval' has 302 tokens, tiny has 256 positions; set seq"
    ):
        evaluate(bank, [Item(make_task(tmp_path, rows=[ROWS[0], {"q": "x" * 299, "a": "1"}]), "eval")])


def test_each_stage_keeps_its_own_cases_beside_one_list_of_results(bank, tmp_path):
    task = make_task(tmp_path, metrics=["loss"])
    sets = evaluate(bank, both_ways(task))
    for stage in (BEFORE, 0, 1, None):
        save(tmp_path / "run", sets[:1] if stage == BEFORE else sets, stage=stage, seed=2)
    kept = sorted(str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.jsonl"))
    assert kept == [
        "cases/sums.base.jsonl", "cases/sums.sums.jsonl",
        "stages/0/cases/sums.base.jsonl", "stages/0/cases/sums.sums.jsonl",
        "stages/1/cases/sums.base.jsonl", "stages/1/cases/sums.sums.jsonl",
        "stages/before/cases/sums.base.jsonl",
    ]  # fmt: skip
    assert {path.parent for path in (tmp_path / "run").rglob("*.jsonl")} == {
        case_folder(tmp_path / "run", stage) for stage in (BEFORE, 0, 1, None)
    }
    results = read_results(tmp_path / "run" / "results.json")
    assert [(one.stage, one.adapter) for one in results] == [
        (-1, "base"), (0, "base"), (0, "sums"), (1, "base"), (1, "sums"), (None, "base"), (None, "sums"),
    ]  # fmt: skip
    whole = sum(parameter.numel() for parameter in bank.base.model.parameters())
    own = sum(parameter.numel() for parameter in bank.parameters("sums").values())
    assert [one.parameters for one in results[:3]] == [{"base": whole}, {"base": whole}, {"base": whole, "sums": own}]


def test_the_loss_may_be_asked_for_beside_what_a_task_names(bank, tmp_path):
    task = make_task(tmp_path, metrics=["exact_match"], max_new_tokens=2)
    (plain,), (more,) = evaluate(bank, [Item(task, "eval")]), evaluate(bank, [Item(task, "eval")], loss=True)
    assert [measure.name for measure in plain.measures] == ["exact_match"]
    assert [measure.name for measure in more.measures] == ["exact_match", "loss"]
    named = make_task(tmp_path, "named", metrics=["loss"])
    (once,) = evaluate(bank, [Item(named, "eval")], loss=True)
    assert [measure.name for measure in once.measures] == ["loss"]
    assert [case.nats for case in more.cases] == [case.nats for case in once.cases]
