"""LoRA: y + s * (x A^T) B^T with A (R, D_in), B (D_out, R) and s = alpha / R (Hu et al. 2021, arXiv:2106.09685).

Rank-stabilised: s = alpha / sqrt(R) (Kalajdzievski 2023, arXiv:2312.03732). LoRA+: B learns faster than A by
``loraplus_lr_ratio`` (Hayou et al. 2024, arXiv:2402.12354).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from tenfold.adapters._base import Adapter as Contract
from tenfold.adapters._base import Dropout, Layer, LowRank, Targets
from tenfold.errors import AdapterError

PEFT_TYPE = "LORA"
TRAINING = ("lora_dropout", "loraplus_lr_ratio")
BUDGET = "lora_r"


class Config(BaseModel):
    """Settings of a LoRA adapter, by axolotl's names."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    lora_r: int = Field(8, ge=1, description="Rank R of the update.")
    lora_alpha: float = Field(16, gt=0, description="The update is scaled by lora_alpha / lora_r.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on what goes into the update, in training.")
    lora_target_modules: list[str] | None = Field(
        None,
        description="Layers: suffixes or full dotted names, or a text file with one a line. Unset: all linear layers.",
    )
    lora_target_linear: bool | None = Field(
        None,
        description="All linear layers but the output head. Given beside lora_target_modules, those decide.",
    )
    peft_use_rslora: bool = Field(False, description="Scale by lora_alpha / sqrt(lora_r) instead (rank-stabilised).")
    loraplus_lr_ratio: float | None = Field(None, gt=0, description="LoRA+: B's learning rate over A's.")

    @model_validator(mode="after")
    def _has_targets(self) -> Self:
        if self.lora_target_linear is False and self.lora_target_modules is None:
            raise ValueError("lora_target_linear: false leaves no layers; name some in lora_target_modules")
        return self

    @property
    def scale(self) -> float:
        """What the product is multiplied by."""
        return self.lora_alpha / (math.sqrt(self.lora_r) if self.peft_use_rslora else self.lora_r)


class Adapter(Contract):
    """LoRA on one layer."""

    identity: ClassVar[bool] = True
    transforms = False
    adds = True
    tensors: Mapping[str, str] = {"a": "lora_A.weight", "b": "lora_B.weight"}

    def __init__(self, config: Config, layer: Layer, generator: torch.Generator) -> None:
        super().__init__(config, layer, generator)
        self.scale, self.p = config.scale, config.lora_dropout
        bound = 1 / math.sqrt(layer.d_in)  # kaiming_uniform with a = sqrt(5), as PEFT draws A
        a = torch.empty(config.lora_r, layer.d_in).uniform_(-bound, bound, generator=generator)
        self.a = nn.Parameter(a)
        self.b = nn.Parameter(torch.zeros(layer.d_out, config.lora_r))

    def begin(self, frozen: nn.Module) -> None:
        """B is zero and A random, whatever the layer holds."""

    def transform(self, x: Tensor) -> Tensor:
        """LoRA leaves what goes in as it is."""
        return x

    def delta(self, x: Tensor, y: Tensor, frozen: nn.Module, dropout: Dropout | None) -> Tensor:
        """s * (drop(x) A^T) B^T: (T, D_in) -> (T, D_out)."""
        if dropout is not None and self.p:
            x = dropout.drop(x, self.p)
        return (x @ self.a.to(x.dtype).T) @ self.b.to(x.dtype).T * self.scale

    def low_rank(self, training: bool) -> LowRank | None:
        """A and B themselves, but for dropout."""
        return None if training and self.p else LowRank(self.a, self.b, self.scale)

    def merge(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """W + s * B A, computed in float32."""
        update = self.b.float() @ self.a.float() * self.scale
        return (weight.float() + update).to(weight.dtype), bias


def size(config: Config, layer: Layer) -> int:
    """R * (D_in + D_out)."""
    return config.lora_r * (layer.d_in + layer.d_out)


def targets(config: Config) -> Targets:
    """The named layers, else all linear ones."""
    return Targets(config.lora_target_modules)


def rates(config: Config) -> dict[str, float]:
    """LoRA+'s ratio for B."""
    return {"b": config.loraplus_lr_ratio} if config.loraplus_lr_ratio else {}


def to_peft(config: Config, names: Sequence[str]) -> dict[str, Any]:
    """PEFT's LoraConfig as JSON."""
    alpha = int(config.lora_alpha) if float(config.lora_alpha).is_integer() else config.lora_alpha
    return {
        "peft_type": PEFT_TYPE, "r": config.lora_r, "lora_alpha": alpha, "lora_dropout": config.lora_dropout,
        "use_rslora": config.peft_use_rslora, "bias": "none", "init_lora_weights": True, "modules_to_save": None,
    }  # fmt: skip


# What a LoRA that PEFT saved may have set. Anything else must be off, known today or not, or the adapter
# would not compute what PEFT computes.
READ = {"r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "init_lora_weights"}
HARMLESS = {"peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping",
            "peft_version", "target_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out",
            "megatron_core", "runtime_config", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
            "qalora_group_size", "ensure_weight_tying"}  # fmt: skip
# These draw A and B without changing the base; PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA take something out of it.
INITS = (True, False, None, "gaussian", "eva", "orthogonal")


def reads(settings: dict[str, Any]) -> bool:
    """All but DoRA, which PEFT calls LORA too."""
    return not settings.get("use_dora")


def from_peft(settings: dict[str, Any]) -> Config:
    """Settings of a LoRA that PEFT saved. Its target modules are matched by the store, not here."""
    used = [key for key, value in settings.items() if value and key not in READ | HARMLESS]
    if settings.get("bias", "none") != "none":
        used.append("bias")
    if settings.get("init_lora_weights") not in INITS:
        used.append("init_lora_weights")
    if used:
        raise AdapterError(
            f"adapter_config.json: {used[0]} = {settings[used[0]]!r:.200} is not supported; it must be unset"
        )
    return Config(
        lora_r=settings["r"], lora_alpha=settings["lora_alpha"], lora_dropout=settings.get("lora_dropout") or 0.0,
        peft_use_rslora=bool(settings.get("use_rslora")),
    )  # fmt: skip
