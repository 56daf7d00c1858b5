"""What transformers' and PEFT's settings are called in a config."""

import re
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer
from transformers import PreTrainedModel, TrainingArguments

from tenfold import plugins
from tenfold.base.families import MAPPINGS, NAMES, Family
from tenfold.errors import ConfigError
from tenfold.store import peft

SAME = ("gradient_accumulation_steps", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon",
        "max_grad_norm", "seed")  # fmt: skip
MIXED = ("fp16", "bf16")
OPTIMIZERS = {"AdamW": "adamw_torch", "Adafactor": "adafactor"}


def training(arguments: TrainingArguments) -> dict[str, Any]:
    """The keys for what a ``TrainingArguments`` says. Raises ConfigError for mixed precision, which tenfold has not."""
    for name in MIXED:
        if getattr(arguments, name):
            raise ConfigError(f"training_args.{name}: true given; instead load the model in that float type")
    found = {name: getattr(arguments, name) for name in SAME}
    warmup, save = float(arguments.warmup_steps), _text(arguments.save_strategy)
    return {
        **found,
        "micro_batch_size": arguments.per_device_train_batch_size,
        "num_epochs": arguments.num_train_epochs,
        "steps": arguments.max_steps if arguments.max_steps > 0 else None,
        "lr_scheduler": _text(arguments.lr_scheduler_type),
        **({"warmup_ratio": warmup} if warmup < 1 else {"warmup_steps": int(warmup)}),
        "optimizer": _text(arguments.optim),
        "gradient_checkpointing": bool(arguments.gradient_checkpointing),
        "logging_steps": max(1, int(arguments.logging_steps)),
        "save_strategy": "epoch" if save == "epoch" else "no",
        "save_steps": int(arguments.save_steps) if save == "steps" and arguments.save_steps >= 1 else None,
        "device": "cpu" if arguments.use_cpu else "auto",
    }


def optimizer(given: str | Optimizer | None) -> dict[str, Any]:
    """The keys for an optimizer: its name in a config, or one of torch's or transformers', of which class and settings
    are taken. Raises ConfigError for a class that tenfold has not."""
    if given is None or isinstance(given, str):
        return {"optimizer": given} if given else {}
    name, said = type(given).__name__, given.defaults
    if name not in OPTIMIZERS:
        raise ConfigError(f"optimizer: {name} given; must be {', '.join(OPTIMIZERS)}, or a name as in a config")
    beta1, beta2 = said.get("betas", (None, None))
    keys = {"learning_rate": said.get("lr"), "weight_decay": said.get("weight_decay"), "adam_beta1": beta1,
            "adam_beta2": beta2, "adam_epsilon": said["eps"] if name == "AdamW" else None}  # fmt: skip
    return {"optimizer": OPTIMIZERS[name], **{key: value for key, value in keys.items() if value is not None}}


def adapter(given: Any, model: PreTrainedModel) -> dict[str, Any]:
    """The keys for one of PEFT's configs. Raises AdapterError, ConfigError for what tenfold has not."""
    said = given.to_dict()
    if said.get("layers_to_transform") is not None:
        raise ConfigError("lora_config.layers_to_transform: not supported; name the layers in target_modules")
    kind, settings = peft.kind({**said, "init_lora_weights": True})
    begin = {} if said.get("init_lora_weights", True) is True else {"peft_init_lora_weights": said["init_lora_weights"]}
    own = {"modules_to_save": list(said["modules_to_save"])} if said.get("modules_to_save") else {}
    targets = {f"{kind}_target_modules": _targets(said["target_modules"], model)}
    return {"adapter": kind, **settings.model_dump(exclude_unset=True), **begin, **own, **targets}


def family(model: PreTrainedModel) -> Family:
    """What a model is for, by its class. Raises ConfigError for one of another kind."""
    for name, mapping in MAPPINGS.items():
        if type(model.config) in mapping and isinstance(model, mapping[type(model.config)]):  # type: ignore[index]
            return name
    raise ConfigError(f"model: {type(model).__name__} given; must be {', '.join(NAMES.values())}")


def _targets(given: str | Iterable[str] | None, model: PreTrainedModel) -> list[str] | None:
    """The layers by name: a list as it is, those that a pattern fits, PEFT's own choice for the model where none is
    named; None for all linear layers."""
    if isinstance(given, str):
        if given.lower() == "all-linear":
            return None
        return [name for name, _ in model.named_modules() if re.fullmatch(given, name)]
    if given is not None:
        return sorted(given)
    usual = plugins.optional("peft.utils", "peft", "a LoraConfig without target_modules needs")
    kind = str(model.config.model_type)
    known = usual.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    if kind not in known:
        raise ConfigError(f"lora_config.target_modules: needed, since PEFT has no choice of its own for {kind}")
    return list(known[kind])


def _text(given: Any) -> str:
    """The value of one of transformers' enumerations."""
    return str(getattr(given, "value", given))
