"""Configs as people write them for axolotl."""

import json

import pytest

from tenfold import importing
from tenfold.config import Config
from tenfold.errors import ConfigError

QLORA = """\
base_model: NousResearch/Meta-Llama-3-8B
model_type: AutoModelForCausalLM
tokenizer_type: AutoTokenizer
load_in_8bit: false
load_in_4bit: true
strict: false
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
    shards: 10
dataset_prepared_path: last_run
val_set_size: 0.05
output_dir: ./outputs/qlora
adapter: qlora
lora_model_dir:
sequence_len: 4096
sample_packing: true
pad_to_sequence_len: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
lora_fan_in_fan_out:
wandb_project:
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 4
optimizer: paged_adamw_32bit
lr_scheduler: rex
learning_rate: 2e-4
bf16: auto
tf32: true
gradient_checkpointing: true
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
weight_decay: 0.0
deepspeed: deepspeed_configs/zero2.json
special_tokens:
  pad_token: "<|end_of_text|>"
neftune_noise_alpha: 5
"""
CHATS = """\
base_model: Qwen/Qwen2.5-0.5B-Instruct
chat_template: tokenizer_default
datasets:
  - path: chats.jsonl
    type: chat_template
    field_messages: conversations
    message_property_mappings: {role: from, content: value}
  - path: HuggingFaceH4/no_robots
    type: chat_template
    split: train
  - path: answers.jsonl
    type:
      system_prompt: "Be brief. "
      field_instruction: question
      field_output: answer
      format: "Q: {instruction}\\nA: "
  - path: json
    data_files: [corpus.jsonl]
    type: completion
    field: body
  - path: winglian/odd
    type: oasst
test_datasets:
  - path: held.jsonl
    type: chat_template
adapter: lora
peft_use_dora: true
lora_r: 8
lora_alpha: 16
lora_target_modules: [q_proj, v_proj]
lora_modules_to_save: [embed_tokens]
batch_size: 8
micro_batch_size: 2
max_steps: 20
learning_rate: 0.0003
lr_scheduler: constant_with_warmup
optimizer: adamw_bnb_8bit
bf16: true
"""


def write(folder, text, name="theirs.yml"):
    (folder / name).write_text(text)
    return folder / name


def noted(found):
    return {note.partition(":")[0] for note in found.notes}


def test_qlora_as_it_comes_with_axolotl(tmp_path):
    found = importing.translate("axolotl", write(tmp_path, QLORA))
    assert found.settings == {
        "base_model": "NousResearch/Meta-Llama-3-8B", "adapter": "lora", "base_quantization": "nf4", "lora_r": 32,
        "lora_alpha": 16, "lora_dropout": 0.05, "lora_target_linear": True, "learning_rate": 2e-4, "weight_decay": 0.0,
        "warmup_steps": 10, "output_dir": "./outputs/qlora", "micro_batch_size": 2, "gradient_accumulation_steps": 4,
        "num_epochs": 4, "sequence_len": 4096, "optimizer": "adamw_torch", "lr_scheduler": "cosine",
        "gradient_checkpointing": True, "save_strategy": "epoch", "val_set_size": 0.05,
        "tasks": {"alpaca": {"dataset_name": "tatsu-lab/alpaca", "data_format": "alpaca", "prompt_style": "raw"}},
    }  # fmt: skip
    assert noted(found) == {
        "datasets[0].shards", "dataset_prepared_path", "sample_packing", "pad_to_sequence_len", "optimizer",
        "lr_scheduler", "tokenizer_type", "tf32", "flash_attention", "evals_per_epoch", "deepspeed",
        "special_tokens", "neftune_noise_alpha",
    }  # fmt: skip
    assert "neftune_noise_alpha: tenfold has no such setting" in found.notes
    assert "lr_scheduler: 'rex' is 'cosine' here" in found.notes


def test_chats_and_own_templates(tmp_path):
    for name in ("chats", "answers", "corpus", "held"):
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
    found = importing.translate("axolotl", write(tmp_path, CHATS), tmp_path / "ours.yaml")
    tasks = found.settings.pop("tasks")
    assert tasks == {
        "chats": {"path": "./chats.jsonl", "data_format": "sharegpt", "validation_path": {"path": "./held.jsonl"}},
        "no_robots": {
            "dataset_name": "HuggingFaceH4/no_robots", "dataset_split": "train", "data_format": "messages",
        },
        "answers": {
            "path": "./answers.jsonl", "prompt": "Be brief. Q: {question}\nA: ", "response": "{answer}",
            "prompt_style": "raw",
        },
        "corpus": {"path": "./corpus.jsonl", "prompt": "", "response": "{body}", "prompt_style": "raw"},
        "odd": {"dataset_name": "winglian/odd"},
    }  # fmt: skip
    wanted = {
        "schedule": "mixture", "adapter": "dora", "lora_target_modules": ["q_proj", "v_proj"], "steps": 20,
        "modules_to_save": ["embed_tokens"], "gradient_accumulation_steps": 4, "dtype": "bfloat16",
        "lr_scheduler": "constant", "optimizer": "adamw_bnb_8bit", "sequence_len": 512,
    }  # fmt: skip
    assert wanted.items() <= found.settings.items()
    assert {"chat_template", "lr_scheduler", "datasets[4].type"} == noted(found)


def test_full_finetuning_and_patterns_of_layers(tmp_path):
    text = (
        "base_model: x/y\nmicro_batch_size: 1\nlearning_rate: 1e-5\nlora_r: 8\ndatasets: [{path: a/b, type: alpaca}]\n"
    )
    found = importing.translate("axolotl", write(tmp_path, text))
    assert found.settings["adapter"] == "full"
    assert not any(key.startswith("lora") for key in found.settings)
    found = importing.translate(
        "axolotl", write(tmp_path, text + "adapter: lora\nlora_target_modules: '.*(q|v)_proj'\n")
    )
    assert noted(found) == {"lora_target_modules"}
    for wrong, said in {"rl: dpo\n": "rl 'dpo'", "adapter: llama-adapter\n": "adapter 'llama-adapter'"}.items():
        with pytest.raises(ConfigError, match=said):
            importing.translate("axolotl", write(tmp_path, text + wrong))


def test_trained_end_to_end(tenfold, project):
    rows = [{"instruction": f"Say {word}.", "input": "", "output": word} for word in ("ab", "cd", "ef", "gh", "ij")]
    chats = [
        {
            "conversations": [{"from": "human", "value": word}, {"from": "gpt", "value": word.upper()}],
            "system": "Shout.",
        }
        for word in ("ab", "cd", "ef")
    ]
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    (project / "corpus.jsonl").write_text('{"text": "some text"}\n{"text": "more"}\n')
    theirs = write(
        project,
        f"""\
base_model: ./base
datasets:
  - {{path: rows.jsonl, type: alpaca}}
  - {{path: chats.jsonl, type: sharegpt}}
  - {{path: corpus.jsonl, type: completion}}
adapter: lora
lora_r: 2
lora_alpha: 4
lora_target_linear: true
micro_batch_size: 4
gradient_accumulation_steps: 1
max_steps: 3
learning_rate: 0.001
sequence_len: 256
output_dir: {project}/imported
sample_packing: true
""",
    )
    ours = project / "ours.yaml"
    code, out, err = tenfold("import", "axolotl", theirs, "-o", ours)
    assert (code, err.splitlines()) == (0, [err.strip()]), err
    assert err.startswith("- sample_packing: rows are always packed")
    assert Config.load(ours).tasks.keys() == {"rows", "chats", "corpus"}
    code, out, err = tenfold("train", ours, "--dry-run")
    assert code == 0, err
    assert "mixture" in out
    code, _, err = tenfold("train", ours)
    assert code == 0, err
    assert (project / "imported" / "adapters" / "mixture" / "adapter_model.safetensors").is_file()
    code, _, err = tenfold("import", "axolotl", theirs, "-o", ours)
    assert (code, err.count("\n")) == (2, 1)


def test_what_cannot_be_read_is_one_line(tenfold, tmp_path):
    broken = write(tmp_path, "base_model: [")
    for arguments in (["axolotl", broken], ["axolotl", tmp_path / "absent"], ["unsloth", broken]):
        code, out, err = tenfold("import", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "axolotl, llamafactory" in err
