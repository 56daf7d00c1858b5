"""LLaMA-Factory's YAML and its dataset_info.json (https://llamafactory.readthedocs.io)."""

import json
from pathlib import Path
from typing import Any

from tenfold.errors import ConfigError, nearest
from tenfold.importing._base import OPTIMIZERS, SCHEDULERS, Translation

RENAMED = {
    "lora_dropout": "lora_dropout", "use_rslora": "peft_use_rslora", "loraplus_lr_ratio": "loraplus_lr_ratio",
    "double_quantization": "bnb_4bit_use_double_quant", "learning_rate": "learning_rate",
    "warmup_ratio": "warmup_ratio", "warmup_steps": "warmup_steps", "weight_decay": "weight_decay",
    "adam_beta1": "adam_beta1", "adam_beta2": "adam_beta2", "adam_epsilon": "adam_epsilon",
    "max_grad_norm": "max_grad_norm", "output_dir": "output_dir", "logging_steps": "logging_steps",
    "train_on_prompt": "train_on_inputs", "val_size": "val_set_size",
}  # fmt: skip
DEFAULTS = {  # of LLaMA-Factory and of transformers' trainer, where tenfold's differ
    "per_device_train_batch_size": ("micro_batch_size", 8), "num_train_epochs": ("num_epochs", 3.0),
    "gradient_accumulation_steps": ("gradient_accumulation_steps", 1), "cutoff_len": ("sequence_len", 2048),
    "learning_rate": ("learning_rate", 5e-5), "seed": ("seed", 42),
    "warmup_ratio": ("warmup_ratio", 0.0),
}  # fmt: skip
QUANTIZED = {None: None, 4: "nf4", 8: "int8"}
REASONS = (
    (r"packing|neat_packing|group_by_length", "rows are always packed, without padding and without seeing each other"),
    (r"flash_attn|use_unsloth.*|enable_liger_kernel|shift_attn|.*reentrant.*|upcast.*|use_v1_kernels|torch_compile.*",
     "how passes are computed is chosen by tenfold, where it is exact"),
    (r"template|tool_format|default_system|enable_thinking", "chats go through the template of the base's tokenizer"),
    (r"do_train|do_eval|do_predict|predict_with_generate|stage|overwrite_output_dir|overwrite_cache|plot_loss",
     "a run trains, then evaluates, and keeps its losses; tenfold train --overwrite clears an old one"),
    (r"preprocessing.*|dataloader.*|tokenized_path|streaming|buffer_size|cache_dir|remove_unused_columns|mix_strategy",
     "rows are read and tokenised anew, and shuffled with the seed"),
    (r"ddp.*|deepspeed|fsdp.*|local_rank|ray.*|device_map|low_cpu_mem_usage", "training runs on one device"),
    (r"bf16|fp16|pure_bf16|tf32|quantization_method|quantization_type",
     "dtype says the float type of the base, base_quantization nf4 or int8; adapters are float32"),
    (r"report_to|run_name|logging_dir|wandb.*|use_swanlab|swanlab.*|trackio.*", "goes to no known tracker"),
    (r"trust_remote_code|model_revision|.*_token|use_fast_tokenizer|resize_vocab",
     "the base and its tokenizer are taken as they are, and no code of theirs is run"),
    (r"eval_strategy|evaluation_strategy|per_device_eval_batch_size|load_best_model_at_end|metric_for_best_model|"
     r"save_total_limit|save_only_model|resume_from_checkpoint|compute_accuracy",
     "the last checkpoint, the last adapter and the best by validation are kept; tenfold train --resume goes on"),
    (r"mask_history", "every answer of a chat is learnt"),
    (r"interleave_probs", "mixture_rate of each task says how often its rows are drawn"),
    (r"max_new_tokens|top_p|top_k|temperature|do_sample|num_beams|infer_.*|export_.*", "is for use, not for training"),
)  # fmt: skip


def translate(given: Translation) -> None:
    """Fill a translation's settings and notes. Raises ConfigError for what is no supervised training."""
    if (stage := given.take("stage", "sft")) not in ("sft", "pt"):
        raise ConfigError(f"stage {stage!r}: tenfold learns from rows with answers, not from preferences or rewards")
    given.base_model("model_name_or_path")
    _adapter(given)
    given.rename({theirs: ours for theirs, ours in RENAMED.items() if theirs not in DEFAULTS})
    if given.settings.get("warmup_steps"):
        given.take("warmup_ratio")
    for key, (ours, default) in DEFAULTS.items():
        given.put(ours, given.take(key, default))
    if (steps := given.take("max_steps", -1)) > 0:
        given.put("steps", steps)
    given.choose("optim", "optimizer", OPTIMIZERS, "adamw_torch_fused")
    given.choose("lr_scheduler_type", "lr_scheduler", SCHEDULERS, "linear")
    given.switch_precision(given.take("bf16") or given.take("pure_bf16"), given.take("fp16"))
    given.put("gradient_checkpointing", None if given.take("disable_gradient_checkpointing") else True)
    _saving(given)
    _datasets(given, raw=stage == "pt")


def _adapter(given: Translation) -> None:
    kind, dora = given.take("finetuning_type", "lora"), given.take("use_dora")
    if kind not in ("lora", "full"):
        raise ConfigError(f"finetuning_type {kind!r}: tenfold has lora and full")
    given.put("adapter", "dora" if dora and kind == "lora" else kind)
    if kind == "full":
        given.forget("lora", "use_rslora", "pissa_", "additional_target", "quantization_", "double_quantization")
        return
    rank = given.take("lora_rank", 8)
    given.put("lora_r", rank)
    given.put("lora_alpha", given.take("lora_alpha", 2 * rank))
    given.target_layers("lora_target")
    bits = given.take("quantization_bit")
    if bits not in QUANTIZED:
        given.note("quantization_bit", f"{bits} bits are not there; nf4 (4) and int8 (8) are")
    given.put("base_quantization", QUANTIZED.get(bits))
    if names := given.take("additional_target"):
        given.put("modules_to_save", [name.strip() for name in str(names).split(",")])
    if given.take("pissa_init"):
        turns = given.take("pissa_iter", 16)
        given.put("peft_init_lora_weights", f"pissa_niter_{turns}" if turns > 0 else "pissa")


def _saving(given: Translation) -> None:
    steps, how = given.take("save_steps"), given.take("save_strategy", "steps")
    if how == "epoch":
        given.put("save_strategy", "epoch")
    elif how == "steps" and isinstance(steps, int):
        given.put("save_steps", steps)
    steps = given.take("eval_steps")
    given.put("eval_steps", steps if isinstance(steps, int) else None)


def _datasets(given: Translation, raw: bool) -> None:
    folder = Path(str(given.take("dataset_dir", "data")))
    names, held = (_names(given.take(key)) for key in ("dataset", "eval_dataset"))
    known = _known(given, folder) if names else {}
    most, start = given.take("max_samples"), given.take("adapter_name_or_path")
    for name in names:
        own = {**_source(given, folder, known, name), **_rows(given, known, name, raw), "max_rows": most}
        own |= {"adapter_path": given.local(str(start)) or start} if start else {}
        given.add_task(name, {key: value for key, value in own.items() if value is not None})
    if held and len(held) == len(names):
        for task, name in zip(given.settings["tasks"].values(), held, strict=True):
            task["validation_path"] = _source(given, folder, known, name)
    elif held:
        given.note("eval_dataset", "name the validation rows of each task in its validation_path")


def _names(given: Any) -> list[str]:
    names = given.split(",") if isinstance(given, str) else given or []
    return [str(name).strip() for name in names]


def _known(given: Translation, folder: Path) -> dict[str, dict[str, Any]]:
    """What dataset_info.json says of every data set."""
    place = given.local(str(folder / "dataset_info.json"), given.folder.parent)
    if place is None:
        raise ConfigError(f"dataset_dir: no {folder / 'dataset_info.json'} here or beside the config")
    path = Path(place) if Path(place).is_absolute() or given.target is None else given.target / place
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: must say what each data set is, by its name")
    return {str(name): {**one, "_folder": str(path.parent)} for name, one in found.items() if isinstance(one, dict)}


def _source(given: Translation, folder: Path, known: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in known:
        raise ConfigError(f"dataset {name!r} is not in dataset_info.json of {folder}{nearest(name, list(known))}")
    info = known[name]
    if info.get("ranking"):
        raise ConfigError(f"dataset {name!r}: tenfold learns from rows with answers, not from preferences")
    if hub := info.get("hf_hub_url"):
        found = {"dataset_name": hub, "dataset_subset": info.get("subset"), "dataset_split": info.get("split")}
    elif file := info.get("file_name"):
        found = {"path": given.local(str(file), Path(info["_folder"])) or str(Path(info["_folder"], file))}
    else:
        raise ConfigError(f"dataset {name!r}: only file_name and hf_hub_url can be read")
    for key in info.keys() & {"folder", "num_samples"}:
        given.note(f"dataset_info.{name}.{key}", "max_rows says how many rows" if key != "folder" else "no counterpart")
    return {key: value for key, value in found.items() if value}


def _rows(given: Translation, known: dict[str, dict[str, Any]], name: str, raw: bool) -> dict[str, Any]:
    """What prompt and response are made of."""
    info, where = known[name], f"dataset_info.{name}"
    columns = info.get("columns") or {}
    for key in columns.keys() & {"history", "system", "tools", "images", "videos", "audios", "kto_tag"}:
        if (info.get("formatting"), key) != ("sharegpt", "system") or columns[key] != "system":
            given.note(f"{where}.columns.{key}", "is no part of a row's prompt here")
    if raw:
        return {"prompt": "", "response": f"{{{columns.get('prompt', 'text')}}}", "prompt_style": "raw"}
    if info.get("formatting", "alpaca") == "sharegpt":
        return _chat(given, info, where)
    prompt, query = columns.get("prompt", "instruction"), columns.get("query", "" if columns else "input")
    response = columns.get("response", "output")
    if (prompt, query or "input", response) == ("instruction", "input", "output"):
        given.note(
            f"{where}.formatting", "an instruction and its input stand a line apart, there without a line between"
        )
        return {"data_format": "alpaca"}
    return {"prompt": f"{{{prompt}}}\n{{{query}}}" if query else f"{{{prompt}}}", "response": f"{{{response}}}"}


def _chat(given: Translation, info: dict[str, Any], where: str) -> dict[str, Any]:
    tags, column = info.get("tags") or {}, (info.get("columns") or {}).get("messages", "conversations")
    role, user = tags.get("role_tag", "from"), tags.get("user_tag", "human")
    layouts = {("messages", "role", "user"): "messages", ("conversations", "from", "human"): "sharegpt"}
    layout = layouts.get((column, role, user))
    if layout is None:
        given.note(f"{where}.tags", f"{column} with {role!r}: rename it to messages of {{role, content}}")
    return {"data_format": layout} if layout else {}
