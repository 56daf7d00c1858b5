"""Classifiers and encoder-decoder models from a config to a run folder, with the same stages and commands."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny import tiny_other
from tokens import tiny_tokenizer
from typer.testing import CliRunner

import tenfold
from tenfold import training
from tenfold.cli import application
from tenfold.cli.stages import count_trainable
from tenfold.config import Config
from tenfold.errors import AdapterError, ConfigError, DataError, ModelError

WORDS = ["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr", "st", "uvw", "xyz"]
TOP = {"prompt_style": "raw", "micro_batch_size": 4, "steps": 6, "lora_r": 2, "learning_rate": 0.01, "eval_steps": 2,
       "save_steps": 2, "interleave": "mixed"}  # fmt: skip
TASKS = {
    "classification": {
        "case": {"path": "rows.jsonl", "eval_path": "rows.jsonl", "validation_path": "rows.jsonl", "prompt": "{text}",
                 "response": "{case}", "options": ["lower", "upper"]},
        "size": {"path": "rows.jsonl", "eval_path": "rows.jsonl", "prompt": "{text}", "label_column": "size",
                 "labels": {1: "one", 2: "two", 3: "three"}, "metrics": ["accuracy", "option_likelihood", "loss"]},
    },
    "seq2seq": {
        "up": {"path": "rows.jsonl", "eval_path": "rows.jsonl", "validation_path": "rows.jsonl", "prompt": "{text}",
               "response": "{upper}", "metrics": ["exact_match", "bleu", "loss"]},
        "down": {"path": "rows.jsonl", "eval_path": "rows.jsonl", "prompt": "{upper}", "response": "{text}"},
    },
}  # fmt: skip


@pytest.fixture(params=["bert", "llama", "t5", "bart"])
def kind(request):
    return request.param


@pytest.fixture
def project(tmp_path, kind):
    """Make a config of two tasks on a tiny base of this kind."""
    model, family = tiny_other(kind)
    (model.bert if kind == "bert" else model).save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    rows = [
        {
            "text": w if i % 2 else w.upper(),
            "upper": w.upper(),
            "case": "lower" if i % 2 else "upper",
            "size": i % 3 + 1,
        }
        for i, w in enumerate(WORDS)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(name="run", **top):
        given = {**TOP, "base_model": "base", "output_dir": str(tmp_path / name), "tasks": TASKS[family], **top}
        if kind == "llama":
            given["family"] = family
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
        return Config.load(tmp_path / f"{name}.yaml")

    return make


def tensors(folder):
    return {path.parent.name: load_file(path) for path in (folder / "adapters").glob("*/adapter_model.safetensors")}


def test_a_run_trains_measures_saves_and_is_opened_again(project, kind):
    config = project()
    finished = training.run(config)
    family = finished.run.bank.base.family
    names = list(TASKS[family])
    losses = [json.loads(line) for line in (config.output_dir / "metrics.jsonl").read_text().splitlines()]
    for name in names:
        seen = [one["loss"] for one in losses if one["adapter"] == name and "loss" in one]
        assert seen[-1] < seen[0]
    assert set(finished.run.router.tasks) == set(names)  # more of it in tests/test_routing.py
    own = [one for one in finished.results if one.task != "router" and one.adapter not in ("routed", "top1")]
    labels = {(one.task, one.adapter) for one in own}
    answering = {"up", "down", *(["case"] if kind == "llama" else [])}  # its checkpoint has a head with two classes
    assert labels == {(name, other) for name in names for other in ([name, "base"] if name in answering else [name])}
    assert all(one.value >= 0 for one in own)
    if family == "classification":
        both = {one.metric: one.value for one in finished.results if one.task == one.adapter == "size"}
        assert both["accuracy"] == both["option_likelihood"]
    again = tenfold.load(config.output_dir)
    for name in names:
        texts = [word.upper() for word in WORDS[:4]]
        answers = again.generate(texts, name, max_new_tokens=4)
        assert answers == finished.run.generate(texts, name, max_new_tokens=4)
        if family == "classification":
            assert set(answers) <= {*TASKS[family][name].get("options", []), "one", "two", "three"}
    measured = again.evaluate()
    wanted = {(one.task, one.adapter, one.metric): one.value for one in own}
    assert {(one.task, one.adapter, one.metric): one.value for one in measured} == wanted


def test_side_by_side_is_each_alone_and_turns_are_mixed(project):
    mixed, turns = training.run(project("mixed")), training.run(project("turns", interleave="turns"))
    tasks = TASKS[mixed.run.bank.base.family]
    for name, task in tasks.items():
        alone = training.run(project(f"alone-{name}", tasks={name: task}))
        wanted = tensors(alone.run.folder.path)[name]
        for run in (mixed, turns):
            found = tensors(run.run.folder.path)[name]
            assert found.keys() == wanted.keys()
            assert all(torch.allclose(found[key], wanted[key], rtol=1e-3, atol=1e-4) for key in wanted)


def test_resumed_is_uninterrupted_bit_for_bit(project, monkeypatch):
    whole = training.run(project("whole"))
    from tenfold.training import watch

    cut = project("cut")
    after = watch.Watch.after
    monkeypatch.setattr(watch.Watch, "after", lambda self, done, state: after(self, done, state) or done == 4)
    training.run(cut)
    monkeypatch.undo()
    training.run(cut, resume=True)
    found, wanted = tensors(cut.output_dir), tensors(whole.run.folder.path)
    assert all(torch.equal(found[name][key], wanted[name][key]) for name in wanted for key in wanted[name])


def test_the_dry_run_counts_what_is_trained(project, kind):
    config = project(modules_to_save=["lm_head"] if kind in ("t5", "bart") else None)
    run = training.run(config).run
    bank = run.bank
    assert {name: count_trainable(name, config, bank.base) for name in bank.adapters} == {
        name: own.size for name, own in bank.adapters.items()
    }


def test_the_commands_know_them(project, tmp_path):
    config = project()
    path = tmp_path / "run.yaml"
    for arguments in (["data", str(path)], ["train", str(path), "--dry-run"], ["train", str(path)],
                      ["evaluate", str(config.output_dir)]):  # fmt: skip
        result = CliRunner().invoke(application(arguments), arguments)
        assert result.exit_code == 0, result.output
    name = next(iter(TASKS["seq2seq" if "up" in config.tasks else "classification"]))
    arguments = ["generate", str(config.output_dir), "ab", "--adapter", name, "--max-new-tokens", "3"]
    assert CliRunner().invoke(application(arguments), arguments).exit_code == 0


def refusal(error, config):
    with pytest.raises(error) as caught:
        training.run(config)
    assert not config.output_dir.exists()
    return str(caught.value)


def test_mistakes_are_named(project, kind):
    if kind == "bert":
        assert "is not an encoder-decoder model but Bert" in refusal(ModelError, project("a", family="seq2seq"))
        assert "is not a causal language model but Bert" in refusal(ModelError, project("b", family="causal"))
        task = {**TASKS["classification"]["case"], "options": None}
        assert "tasks.case: train: options: needed for classification: all classes by name" in refusal(
            DataError, project("c", tasks={"case": task})
        )
        task = {**TASKS["classification"]["size"], "labels": {1: "one", 2: "two"}}
        assert "size '3' is none of 1, 2" in refusal(DataError, project("d", tasks={"size": task}))
        full = project("e", adapter="full", lora_r=None)
        assert "adapter: full given, but" in refusal(ConfigError, full)
        run = training.run(project("good")).run
        with pytest.raises(AdapterError, match="has no head of its own"):
            run.generate(["ab"], "base", task="case")
    elif kind == "bart":
        assert "is not a causal language model but Bart" in refusal(ModelError, project("a", family="causal"))


def test_modules_to_save_from_a_config(project, kind):
    name = {"bert": "word_embeddings", "llama": "embed_tokens", "t5": "lm_head", "bart": "lm_head"}[kind]
    run = training.run(project(modules_to_save=[name])).run
    for own in run.bank.adapters.values():
        assert any(place.endswith(name) for place in own.copies)
    again = tenfold.load(run.folder.path)
    for task, own in again.bank.adapters.items():
        assert own.copies.keys() == run.bank.get(task).copies.keys()
    with pytest.raises(AdapterError, match="modules_to_save: 'nothing' matches no module"):
        training.run(project("wrong", modules_to_save=["nothing"]))
