"""Optimizers and learning-rate schedules, one of each per learner, bound to its tensors by identity."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tenfold import plugins
from tenfold.config.settings import TrainingSettings


def make(training: TrainingSettings, parameters: Mapping[str, nn.Parameter], rates: Mapping[str, float]) -> Optimizer:
    """The optimizer of one learner. rates: last part of a parameter's name -> factor on the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(rates.get(name.rsplit(".", 1)[-1], 1.0), []).append(parameter)
    listed = [{"params": own, "rate": rate} for rate, own in sorted(groups.items())]
    return _build(training, listed)


def _build(training: TrainingSettings, groups: list[dict[str, Any]]) -> Optimizer:
    name = training.optimizer
    common: dict[str, Any] = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    adam: dict[str, Any] = {"betas": (training.adam_beta1, training.adam_beta2), "eps": training.adam_epsilon}
    if name == "adafactor":
        return torch.optim.Adafactor(groups, **common)
    if name in ("adamw_8bit", "adamw_bnb_8bit"):
        return _bitsandbytes(groups, **common, **adam)
    return torch.optim.AdamW(groups, **common, **adam, fused=name == "adamw_torch_fused")


def _bitsandbytes(groups: list[dict[str, Any]], **settings: Any) -> Optimizer:
    bitsandbytes = plugins.optional("bitsandbytes", "bitsandbytes", "optimizer: 8-bit AdamW needs")
    return bitsandbytes.optim.AdamW8bit(groups, **settings)  # type: ignore[no-any-return]


def factor(training: TrainingSettings, steps: int, step: int) -> float:
    """What the learning rate is multiplied by in optimizer step ``step`` (from 0) of ``steps``.

    Linear warm-up from 0, then constant, or down to ``min_lr_ratio`` along a line or half a cosine,
    as in transformers' schedules.
    """
    warm = training.warmup_steps if training.warmup_steps is not None else math.ceil(training.warmup_ratio * steps)
    if step < warm:
        return step / max(1, warm)
    if training.lr_scheduler == "constant":
        return 1.0
    done = (step - warm) / max(1, steps - warm)
    fall = 1 - done if training.lr_scheduler == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return training.min_lr_ratio + (1 - training.min_lr_ratio) * fall


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group its learning rate: ``rate`` times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def clip(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale the gradients down to norm ``limit`` (0: leave them) -> their norm before, float32 scalar."""
    return nn.utils.clip_grad_norm_(list(parameters), limit or float("inf"))
