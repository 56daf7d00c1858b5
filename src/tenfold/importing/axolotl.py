"""axolotl's YAML (https://docs.axolotl.ai/docs/config-reference.html)."""

from typing import Any

from tenfold.errors import ConfigError
from tenfold.importing._base import OPTIMIZERS, SCHEDULERS, Translation

SAME = (
    "lora_r", "lora_alpha", "lora_dropout", "peft_use_rslora", "loraplus_lr_ratio", "peft_init_lora_weights",
    "lora_target_linear", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    "warmup_steps", "warmup_ratio", "seed", "logging_steps", "output_dir", "train_on_inputs",
)  # fmt: skip
RENAMED = {
    **{key: key for key in SAME}, "lora_modules_to_save": "modules_to_save", "cosine_min_lr_ratio": "min_lr_ratio",
    "max_steps": "steps",
}  # fmt: skip
DEFAULTS = {"micro_batch_size": 1, "gradient_accumulation_steps": 1, "num_epochs": 1.0, "sequence_len": 512}
ALPACA = ("alpaca", "alpaca_w_system.load", "alpaca_chat.load_qa")
REASONS = (
    (r"sample_packing.*|pad_to_sequence_len|eval_sample_packing|group_by_length|batch_flattening|multipack.*",
     "rows are always packed, without padding and without seeing each other"),
    (r".*attention|flash_attn.*|attn_implementation|flex_attn.*", "a probe chooses the fastest exact attention"),
    (r"tokenizer_type|tokenizer_use_fast|tokenizer_legacy|tokenizer_config", "the tokenizer is the base's own"),
    (r"chat_template.*|default_system_message|eot_tokens", "chats go through the template of the base's tokenizer"),
    (r"special_tokens|tokens|added_tokens_overrides|resize_token_embeddings.*",
     "the base's tokens stay as they are; padding is never learnt from"),
    (r"dataset_prepared_path|dataset_processes|dataset_num_proc|dataloader.*|shuffle_merged_datasets|dataset_keep.*",
     "rows are read and tokenised anew, and shuffled with the seed"),
    (r"deepspeed.*|fsdp.*|ddp.*|local_rank|world_size|device_map|max_memory|sequence_parallel.*|context_parallel.*|"
     r"tensor_parallel.*|accelerator_config|ray.*", "training runs on one device"),
    (r"bf16|fp16|tf32|fp8|bfloat16|float16|float32", "dtype says the float type of the base; adapters are float32"),
    (r"wandb.*|mlflow.*|comet.*|use_.*|trackio.*|swanlab.*", "goes to no known tracker"),
    (r"gradient_checkpointing_kwargs|activation_offloading|low_cpu_mem_usage|torch_compile.*|unsloth.*|liger.*|"
     r"lora_(mlp|qkv|o)_kernel|plugins", "how passes are computed is chosen by tenfold"),
    (r"strict|debug|is_.*_derived_model|trust_remote_code|hub_.*|hf_use_auth_token|save_safetensors",
     "nothing follows from it: code from hubs is never run, and only safetensors are read and written"),
    (r"eval_.*|do_.*eval|early_stopping_patience|load_best_model_at_end|metric_for_best_model|greater_is_better|"
     r"save_total_limit|save_only_model|resume_from_checkpoint|auto_resume.*",
     "the last checkpoint, the last adapter and the best by validation are kept; tenfold train --resume goes on"),
    (r"dataset_exact_deduplication", "tenfold data lists repeated rows; none is taken out"),
    (r"peft_layers.*|lora_fan_in_fan_out|lora_on_cpu|lora_target_parameters", "lora_target_modules names layers"),
)  # fmt: skip
DATASET_KEYS = ("path", "type", "split", "name", "data_files", "ds_type", "field", "field_messages",
                "message_property_mappings", "message_field_role", "message_field_content")  # fmt: skip


def translate(given: Translation) -> None:
    """Fill a translation's settings and notes. Raises ConfigError for what is no supervised training."""
    if method := given.take("rl") or given.take("reward_model"):
        raise ConfigError(f"rl {method!r}: tenfold learns from rows with answers, not from preferences or rewards")
    given.base_model("base_model")
    if (kind := given.take("model_type")) and not str(kind).startswith("Auto"):
        given.put("model_type", kind)
    _adapter(given)
    given.target_layers("lora_target_modules")
    given.rename(RENAMED)
    for key, default in DEFAULTS.items():
        given.put(key, given.take(key, default))
    _batches(given)
    given.choose("optimizer", "optimizer", OPTIMIZERS, "adamw_torch_fused")
    given.choose("lr_scheduler", "lr_scheduler", SCHEDULERS, "cosine")
    given.switch_precision(given.take("bf16") or given.take("bfloat16"), given.take("fp16") or given.take("float16"))
    given.put("gradient_checkpointing", True if given.take("gradient_checkpointing") else None)
    _saving(given)
    _datasets(given)


def _adapter(given: Translation) -> None:
    kind, dora = given.take("adapter"), given.take("peft_use_dora")
    four, eight = given.take("load_in_4bit"), given.take("load_in_8bit")
    known = {"lora": "lora", "qlora": "lora", None: "full"}
    if kind not in known:
        raise ConfigError(f"adapter {kind!r}: tenfold has no such kind")
    given.put("adapter", "dora" if dora and kind else known[kind])
    if kind is None:
        given.forget("lora_", "peft_", "loraplus_")
    given.put("base_quantization", "nf4" if four or kind == "qlora" else "int8" if eight else None)
    if (folder := given.take("lora_model_dir")) is not None:
        given.note("lora_model_dir", f"write adapter_path: {folder} into the task that goes on with it")


def _batches(given: Translation) -> None:
    """``batch_size`` is rows of a whole step there."""
    if whole := given.take("batch_size"):
        given.put("gradient_accumulation_steps", max(1, int(whole) // int(given.settings["micro_batch_size"])))
    if (given.settings.get("steps") or 1) < 0:
        del given.settings["steps"]


def _saving(given: Translation) -> None:
    steps, often, how = given.take("save_steps"), given.take("saves_per_epoch"), given.take("save_strategy")
    if how == "epoch" or often == 1:
        given.put("save_strategy", "epoch")
    elif isinstance(steps, int):
        given.put("save_steps", steps)
    elif steps or often:
        given.note("save_steps" if steps else "saves_per_epoch", "save_steps is a whole number of steps here")
    steps, often = given.take("eval_steps"), given.take("evals_per_epoch")
    if isinstance(steps, int):
        given.put("eval_steps", steps)
    elif steps or (often or 1) != 1:
        given.note("eval_steps" if steps else "evals_per_epoch", "eval_steps is a whole number of steps here")


def _datasets(given: Translation) -> None:
    share = given.take("val_set_size", 0)
    for number, one in enumerate(given.take("datasets", [])):
        where = f"datasets[{number}]"
        if not isinstance(one, dict) or not one.get("path"):
            raise ConfigError(f"{where}: needs a path")
        source = _source(given, one)
        given.add_task(source.get("path") or source["dataset_name"], {**source, **_rows(given, one, where)})
        for key in one.keys() - set(DATASET_KEYS):
            if one[key] not in (None, False, "", [], {}):
                given.note(f"{where}.{key}", "a task has no such setting")
    tests = given.take("test_datasets", [])
    if len(tests) == 1 and given.settings.get("tasks"):
        next(iter(given.settings["tasks"].values()))["validation_path"] = _source(given, tests[0])
    elif tests:
        given.note("test_datasets", "name the validation rows of each task in its validation_path")
    given.put("val_set_size", share if share and not tests else None)


def _source(given: Translation, one: dict[str, Any]) -> dict[str, str]:
    """Where rows come from: a file that is there or is named like one, else a data set of a hub."""
    files = one.get("data_files")
    path = str(files[0] if isinstance(files, list) and files else files or one["path"])
    if isinstance(files, list) and len(files) > 1:
        given.note("data_files", f"only {path} is read; name the others in tasks of their own")
    if (place := given.local(path)) and not place.endswith("/") and "." in place.rpartition("/")[2]:
        return {"path": place}
    found = {"dataset_name": place or path, "dataset_subset": one.get("name"), "dataset_split": one.get("split")}
    return {key: str(value) for key, value in found.items() if value}


def _rows(given: Translation, one: dict[str, Any], where: str) -> dict[str, Any]:
    """What prompt and response are made of."""
    kind = one.get("type")
    if isinstance(kind, dict):
        return _own_format(given, kind, where)
    if kind in ALPACA:
        return {"data_format": "alpaca", "prompt_style": "raw"}
    if kind == "completion":
        return {"prompt": "", "response": f"{{{one.get('field') or 'text'}}}", "prompt_style": "raw"}
    if kind == "chat_template" or str(kind).startswith("sharegpt"):
        return _chat(given, one, where)
    given.note(f"{where}.type", f"{kind!r} has no counterpart; say prompt and response yourself")
    return {}


def _chat(given: Translation, one: dict[str, Any], where: str) -> dict[str, Any]:
    """Chats whose layout is OpenAI's or ShareGPT's."""
    mapping = one.get("message_property_mappings") or {}
    role = one.get("message_field_role") or mapping.get("role", "from" if one["type"] != "chat_template" else "role")
    field = one.get("field_messages") or ("messages" if one["type"] == "chat_template" else "conversations")
    layout = {("messages", "role"): "messages", ("conversations", "from"): "sharegpt"}.get((field, role))
    if layout is None:
        given.note(f"{where}.field_messages", f"{field} with {role!r}: rename it to messages of {{role, content}}")
    return {"data_format": layout} if layout else {}


def _own_format(given: Translation, kind: dict[str, Any], where: str) -> dict[str, Any]:
    """axolotl's own templates: {instruction} and {input} stand for columns that it names."""
    names = {key: kind.get(f"field_{key}") or key for key in ("instruction", "input", "output", "system")}
    text = str(kind.get("format") or kind.get("no_input_format") or "{instruction}")
    if kind.get("no_input_format") and kind.get("format"):
        given.note(f"{where}.type.no_input_format", "one prompt is used for rows with and without an input")
    if system := kind.get("system_prompt"):
        text = str(kind.get("system_format") or "{system}").replace("{system}", str(system)) + text
    for key, column in names.items():
        text = text.replace(f"{{{key}}}", f"{{{column}}}")
    return {"prompt": text, "response": f"{{{names['output']}}}", "prompt_style": "raw"}
