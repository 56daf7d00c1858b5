"""Configs as people write them for LLaMA-Factory."""

import json

import pytest

from tenfold import importing
from tenfold.config import Config
from tenfold.errors import ConfigError

SFT = """\
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
trust_remote_code: true
quantization_bit: 4
### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
lora_target: all
### dataset
dataset: identity,chats
dataset_dir: data
template: llama3
cutoff_len: 1024
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
### output
output_dir: saves/llama3-8b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
### eval
val_size: 0.1
eval_strategy: steps
eval_steps: 500
"""
INFO = {
    "identity": {"file_name": "identity.json"},
    "chats": {
        "file_name": "chats.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
    "sharegpt": {"hf_hub_url": "a/b", "subset": "en", "formatting": "sharegpt", "columns": {"system": "system"}},
    "questions": {"file_name": "questions.json", "columns": {"prompt": "question", "response": "answer"}},
    "pairs": {"file_name": "pairs.json", "ranking": True},
    "corpus": {"file_name": "corpus.json", "columns": {"prompt": "text"}},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    return tmp_path


def translate(folder, text):
    (folder / "theirs.yaml").write_text(text)
    return importing.translate("llamafactory", folder / "theirs.yaml", folder / "ours.yaml")


def noted(found):
    return {note.partition(":")[0] for note in found.notes}


def test_lora_as_it_comes_with_llamafactory(folder):
    for name in ("identity", "chats"):
        (folder / "data" / f"{name}.json").write_text("[]")
    found = translate(folder, SFT)
    assert found.settings == {
        "base_model": "meta-llama/Meta-Llama-3-8B-Instruct", "adapter": "lora", "lora_r": 16, "lora_alpha": 32,
        "lora_target_linear": True, "base_quantization": "nf4", "output_dir": "saves/llama3-8b/lora/sft",
        "logging_steps": 10, "val_set_size": 0.1, "micro_batch_size": 1, "num_epochs": 3.0,
        "gradient_accumulation_steps": 8, "sequence_len": 1024, "learning_rate": 1e-4, "seed": 42, "warmup_ratio": 0.1,
        "optimizer": "adamw_torch_fused", "lr_scheduler": "cosine", "dtype": "bfloat16", "gradient_checkpointing": True,
        "save_steps": 500, "eval_steps": 500, "schedule": "mixture",
        "tasks": {
            "identity": {"path": "./data/identity.json", "data_format": "alpaca", "max_rows": 1000},
            "chats": {"path": "./data/chats.json", "data_format": "messages", "max_rows": 1000},
        },
    }  # fmt: skip
    assert noted(found) == {
        "trust_remote_code", "do_train", "template", "overwrite_cache", "preprocessing_num_workers", "plot_loss",
        "ddp_timeout", "eval_strategy", "dataset_info.identity.formatting",
    }  # fmt: skip


def test_what_is_not_said_is_what_llamafactory_takes(folder):
    found = translate(
        folder, "model_name_or_path: a/b\ndataset: questions\nuse_dora: true\nlora_target: q_proj, v_proj\n"
    )
    wanted = {
        "adapter": "dora", "lora_r": 8, "lora_alpha": 16, "lora_target_modules": ["q_proj", "v_proj"],
        "micro_batch_size": 8, "learning_rate": 5e-5, "num_epochs": 3.0, "lr_scheduler": "linear", "warmup_ratio": 0.0,
        "sequence_len": 2048,
    }  # fmt: skip
    assert wanted.items() <= found.settings.items()
    path = str(folder / "data" / "questions.json")
    assert found.settings["tasks"] == {"questions": {"path": path, "prompt": "{question}", "response": "{answer}"}}
    assert found.notes == []


def test_hubs_pretraining_pissa_and_full(folder):
    text = "model_name_or_path: a/b\nfinetuning_type: lora\npissa_init: true\nlora_target: all\ndataset: sharegpt\n"
    found = translate(folder, text)
    assert found.settings["peft_init_lora_weights"] == "pissa_niter_16"
    assert found.settings["tasks"]["sharegpt"] == {
        "dataset_name": "a/b", "dataset_subset": "en", "data_format": "sharegpt",
    }  # fmt: skip
    found = translate(
        folder, "model_name_or_path: a/b\nstage: pt\nfinetuning_type: full\nlora_rank: 4\ndataset: corpus\n"
    )
    assert found.settings["adapter"] == "full"
    assert found.settings["tasks"]["corpus"]["response"] == "{text}"
    assert not any(key.startswith("lora") for key in found.settings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stage: dpo", "stage 'dpo'"),
        ("dataset: pairs", "'pairs': tenfold learns from rows"),
        ("dataset: identit", "did you mean 'identity'"),
        ("finetuning_type: freeze", "finetuning_type 'freeze'"),
        ("dataset: identity\ndataset_dir: elsewhere", "dataset_dir: no elsewhere/dataset_info.json"),
        ("dataset: identity\nlearning_rate: -1", "learning_rate"),
    ],
)
def test_what_tenfold_cannot_do_is_refused(folder, text, said):
    with pytest.raises(ConfigError, match=said):
        translate(folder, f"model_name_or_path: a/b\n{text}\n")


def test_a_dry_run_of_what_comes_out(tenfold, project):
    (project / "data").mkdir()
    (project / "data" / "dataset_info.json").write_text(json.dumps(INFO))
    chats = [{"messages": [{"role": "user", "content": w}, {"role": "assistant", "content": w.upper()}]} for w in "abc"]
    (project / "data" / "chats.json").write_text(json.dumps(chats))
    questions = [{"question": f"{n}+1", "answer": str(n + 1)} for n in range(5)]
    (project / "data" / "questions.json").write_text(json.dumps(questions))
    (project / "theirs.yaml").write_text(
        "model_name_or_path: ./base\ndataset: chats,questions\ntemplate: llama3\nlora_rank: 2\ncutoff_len: 64\n"
        "num_train_epochs: 1.0\neval_dataset: chats,questions\n"
    )
    code, out, err = tenfold("import", "llamafactory", project / "theirs.yaml")
    assert code == 0
    assert err.startswith("- template: ")
    (project / "ours.yaml").write_text(out)
    assert Config.load(project / "ours.yaml").schedule == "mixture"
    code, out, err = tenfold("train", project / "ours.yaml", "--dry-run")
    assert code == 0, err
    assert out.split()[:3] == ["stage", "0:", "mixture,"]
