"""From a config to a run folder, and back from the folder to the same answers and numbers."""

import json
import sys

import lanes
import peft
import pytest
import torch
import yaml
from peft import PeftModel
from pressing import Press
from safetensors.torch import load_file
from test_resume import results, weights
from tiny import tiny_model
from transformers import AutoModelForCausalLM

import tenfold
from tenfold import training
from tenfold.config import Config
from tenfold.errors import AdapterError, ConfigError, DataError, TenfoldError
from tenfold.training import loop


def records(folder, adapter, key):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["adapter"] == adapter and key in line]


@pytest.fixture
def finished(project):
    return training.run(project())


def test_a_run_leaves_everything_that_it_is_to_leave(project):
    config = project(router="auto")
    finished = training.run(config)
    folder = finished.run.folder.path
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "plan.json", "metrics.jsonl", "results.json", "adapters", "stages", "cases", "checkpoints",
        "router", "machine.json", "report.html", "plots",
    }  # fmt: skip
    for name in ("upper", "sums"):
        there = {path.name for path in (folder / "adapters" / name).iterdir()}
        assert there == {"adapter_config.json", "adapter_model.safetensors", "card.json"}
        assert there == {path.name for path in (folder / "stages" / "0" / "best" / name).iterdir()}
    cases = {path.name for path in (folder / "cases").iterdir()}
    assert cases == {f"{task}.{by}.jsonl" for task in ("upper", "sums") for by in ("base", task, "routed", "top1")}
    assert Config.load(folder / "config.yaml").dump() == config.dump() == (folder / "config.yaml").read_text()
    plan = json.loads((folder / "plan.json").read_text())
    assert [lane["name"] for lane in plan["stages"][0]["lanes"]] == ["upper", "sums"]
    assert plan["way"]["path"] == "shared"
    assert plan["interleave"] == "mixed"


def test_metrics_tell_of_every_step_of_every_adapter(finished):
    folder = finished.run.folder.path
    upper, sums = records(folder, "upper", "loss"), records(folder, "sums", "loss")
    assert [one["step"] for one in upper] == [one["step"] for one in sums] == [1, 2, 3, 4, 5, 6]
    for one in upper + sums:
        assert one.keys() == {
            "stage", "adapter", "step", "epoch", "loss", "learning_rate", "grad_norm", "supervised_tokens", "rows",
            "pass_tokens", "seconds", "tokens_per_second", "elapsed",
        }  # fmt: skip
        assert one["grad_norm"] > 0
        assert one["tokens_per_second"] > 0
    assert upper[-1]["epoch"] == pytest.approx(6 * 4 / 9, abs=1e-4)
    assert upper[-1]["loss"] < upper[0]["loss"]


def test_validation_writes_its_loss_and_keeps_the_best(project):
    """With a learning rate that spoils the adapter in the end, the best is not the last."""
    settings = {"learning_rate": 2.0, "lr_scheduler": "constant", "warmup_steps": 5, "steps": 8, "eval_steps": 1}
    folder = training.run(project(**settings, sums=None)).run.folder.path
    found = records(folder, "upper", "validation_loss")
    assert [one["step"] for one in found] == list(range(1, 9))
    losses = [one["validation_loss"] for one in found]
    assert [one["best"] for one in found] == [loss < min(losses[:i], default=1e9) for i, loss in enumerate(losses)]
    best = losses.index(min(losses)) + 1
    assert best < 8
    short = training.run(project("short", **settings, sums=None), progress=Press(best)).run.folder.path
    kept = (folder / "stages/0/best/upper/adapter_model.safetensors").read_bytes()
    assert kept == weights(short)["upper"]
    assert kept != weights(folder)["upper"]


def test_validation_is_once_an_epoch_where_nothing_is_said(project):
    folder = training.run(project(eval_steps=None)).run.folder.path
    assert [one["step"] for one in records(folder, "upper", "validation_loss")] == [3, 6]  # 9 rows by 4
    assert [one["step"] for one in records(folder, "sums", "validation_loss")] == [2, 4, 6]  # 8 rows by 4


def test_validation_losses_are_plain_cross_entropy(finished):
    """The last one against transformers with PEFT on the saved adapter."""
    run = finished.run
    model = PeftModel.from_pretrained(tiny_model(), run.folder.adapter("upper")).eval()
    (task,) = run.tasks(["upper"])
    rows = [one.row for one in tenfold.tasks.encode_all(task.validation, run.bank.base.coding, task.settings)]
    with torch.no_grad():
        plain = lanes.plain_loss(model, rows).item()
    assert records(run.folder.path, "upper", "validation_loss")[-1]["validation_loss"] == pytest.approx(plain, rel=1e-5)
    (result,) = [one for one in finished.results if (one.task, one.adapter, one.metric) == ("upper", "upper", "loss")]
    assert result.value == pytest.approx(plain, rel=1e-4)


def test_logging_steps_thin_the_lines_out_but_keep_the_last(project):
    folder = training.run(project(logging_steps=4, eval_steps=100)).run.folder.path
    assert [one["step"] for one in records(folder, "upper", "loss")] == [4, 6]


def test_an_opened_run_answers_and_measures_as_before(finished):
    folder = finished.run.folder.path
    before = results(folder)
    run = tenfold.load(folder)
    assert run.generate(["ab", "zz"], "upper") == finished.run.generate(["ab", "zz"], "upper")
    assert run.generate([{"a": "1", "b": "2"}], "sums") == finished.run.generate([{"a": "1", "b": "2"}], "sums")
    run.evaluate()
    assert results(folder) == before


def test_what_is_learnt_is_there(project):
    """A pair of rows by heart: exact match 1 after, 0 before."""
    (project().folder / "two.jsonl").write_text('{"text": "ab", "answer": "AB"}\n{"text": "cd", "answer": "CD"}\n')
    task = {"path": "two.jsonl", "eval_path": "two.jsonl", "validation_path": None, "metrics": ["exact_match"]}
    config = project("heart", upper=task, sums=None, steps=60, lora_r=8, learning_rate=0.02, save_steps=None)
    finished = training.run(config)
    found = {(one.metric, one.adapter): one.value for one in finished.results}
    assert (found["exact_match", "base"], found["exact_match", "upper"]) == (0.0, 1.0)
    assert finished.run.generate(["ab", "cd"], "upper") == ["AB", "CD"]
    card = json.loads((finished.run.folder.adapter("upper") / "card.json").read_text())
    assert card["metrics"] == {
        "eval/exact_match": 1.0,
        "eval/kl_to_base": found["kl_to_base", "upper"],
        "general text/general_loss": found["general_loss", "upper"],
    }


def test_tasks_have_settings_of_their_own(project):
    upper = {
        "lora_r": 5,
        "lora_target_modules": ["q_proj"],
        "learning_rate": 0.5,
        "lr_scheduler": "constant",
        "steps": 2,
    }
    finished = training.run(project(upper={**upper, "warmup_steps": 0}, warmup_steps=1))
    folder = finished.run.folder.path
    assert [one["learning_rate"] for one in records(folder, "upper", "loss")] == [0.5, 0.5]
    assert [one["learning_rate"] for one in records(folder, "sums", "loss")][:2] == [0.0, 0.01]
    saved = {
        name: json.loads((folder / "adapters" / name / "adapter_config.json").read_text()) for name in ("upper", "sums")
    }
    assert (saved["upper"]["r"], saved["upper"]["target_modules"], saved["upper"]["lora_dropout"]) == (
        5,
        ["q_proj"],
        0.0,
    )
    assert (saved["sums"]["r"], len(saved["sums"]["target_modules"]), saved["sums"]["lora_dropout"]) == (4, 7, 0.1)


def test_trained_alone_or_beside_others_an_adapter_is_the_same(project):
    both = training.run(project("both", interleave="turns")).run.folder.path
    for name, other in (("upper", "sums"), ("sums", "upper")):
        alone = training.run(project(name, **{other: None})).run.folder.path
        assert weights(alone)[name] == weights(both)[name]


def make_peft(folder, **settings):
    """An adapter that PEFT made on the tiny base, with B filled."""
    torch.manual_seed(3)
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "down_proj"], **settings)
    model = peft.get_peft_model(tiny_model(), config)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    return model


def test_an_adapter_of_peft_is_brought_in_as_it_is(project):
    made = make_peft(project().folder / "given")
    config = project(upper={"adapter_path": "given", "train": False})
    finished = training.run(config)
    folder = finished.run.folder.path
    assert not records(folder, "upper", "loss")
    assert records(folder, "sums", "loss")
    given, kept = (
        load_file(place / "adapter_model.safetensors") for place in (config.folder / "given", folder / "adapters/upper")
    )
    lanes.same_bits(kept, given)
    (task,) = finished.run.tasks(["upper"])
    rows = [
        one.row
        for one in tenfold.tasks.encode_all(task.eval_sets["eval"], finished.run.bank.base.coding, task.settings)
    ]
    with torch.no_grad():
        plain = lanes.plain_loss(made.eval(), rows).item()
    (result,) = [one for one in finished.results if (one.task, one.adapter, one.metric) == ("upper", "upper", "loss")]
    assert result.value == pytest.approx(plain, rel=1e-4)
    assert json.loads((folder / "adapters/upper/card.json").read_text())["data"] is None


def test_an_adapter_of_peft_is_trained_further(project):
    made = make_peft(project().folder / "given")
    config = project(upper={"adapter_path": "given"}, sums=None, warmup_steps=0)
    finished = training.run(config)
    folder = finished.run.folder.path
    saved = json.loads((folder / "adapters/upper/adapter_config.json").read_text())
    assert (saved["r"], saved["lora_alpha"], sorted(saved["target_modules"])) == (3, 6, ["down_proj", "q_proj"])
    run = finished.run
    (task,) = run.tasks(["upper"])
    rows = [one.row for one in tenfold.tasks.encode_all(task.train, run.bank.base.coding, task.settings)]
    order = training.batches.Batches(lanes.make_lane("upper", rows, steps=6), [rows], config.seed)
    with torch.no_grad():
        first = lanes.plain_loss(made.eval(), order.step(0)[0].feeds[0]).item()
    assert records(folder, "upper", "loss")[0]["loss"] == pytest.approx(first, rel=1e-5)
    given, kept = (
        load_file(place / "adapter_model.safetensors") for place in (config.folder / "given", folder / "adapters/upper")
    )
    assert given.keys() == kept.keys()
    assert not any(torch.equal(given[key], kept[key]) for key in given)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(config.base_model), folder / "adapters" / "upper")


MISTAKES = {
    "unknown metric": ({"upper": {"metrics": ["exakt_match"]}}, ConfigError, "exact_match"),
    "options missing": (
        {"upper": {"metrics": ["option_likelihood"]}},
        ConfigError,
        "tasks.upper.metrics: option_likelihood needs",
    ),
    "unknown target": ({"lora_target_modules": ["q_project"]}, AdapterError, "did you mean 'q_proj'"),
    "nothing trains": ({"upper": {"train": False}, "sums": {"train": False}}, ConfigError, "none of them trains"),
    "no adapter there": ({"upper": {"adapter_path": "."}}, TenfoldError, "tasks.upper.adapter_path"),
    "no such extra": ({"optimizer": "adamw_8bit"}, TenfoldError, "pip install"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_before_anything_is_trained(mistake, project, monkeypatch):
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("trained before saying so"))
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    settings, kind, told = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        training.run(project(**settings))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    training.run(project(steps=1))  # what was left of the attempt is in nobody's way


def test_too_long_a_row_for_the_base_is_named_before_training(project):
    (project().folder / "long.jsonl").write_text(json.dumps({"text": "a" * 300, "answer": "b"}) + "\n")
    with pytest.raises(DataError, match=r"tasks\.upper: train: row 1: 30\d tokens; .* has 256 positions"):
        training.run(project(upper={"path": "long.jsonl"}))
    training.run(project(upper={"path": "long.jsonl", "sequence_len": 64, "max_new_tokens": 1}, steps=1))


def test_zero_supervised_tokens_are_an_error(project):
    (project().folder / "empty.jsonl").write_text('{"text": "ab", "answer": ""}\n' * 2)
    config = project(upper={"path": "empty.jsonl"})
    with pytest.raises(DataError, match=r"tasks\.upper.*nothing to learn") as caught:
        training.run(config)
    assert str(caught.value).startswith(str(config.folder / "run.yaml"))


def test_the_python_api_takes_a_path(project):
    config = project(steps=1)
    finished = tenfold.train(config.folder / "run.yaml")
    assert finished.run.folder.path == config.output_dir
    assert not finished.interrupted
    assert yaml.safe_load((config.output_dir / "config.yaml").read_text())["steps"] == 1
