"""What a base model is for: text that goes on, a class for a text, or text from text."""

from collections.abc import Collection, Sequence
from typing import Any, Literal, get_args

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from tenfold.errors import ModelError

Family = Literal["causal", "classification", "seq2seq"]
FAMILIES: tuple[Family, ...] = get_args(Family)

AUTO: dict[Family, Any] = {
    "causal": AutoModelForCausalLM,
    "classification": AutoModelForSequenceClassification,
    "seq2seq": AutoModelForSeq2SeqLM,
}
MAPPINGS: dict[Family, Collection[type]] = {
    "causal": MODEL_FOR_CAUSAL_LM_MAPPING,
    "classification": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "seq2seq": MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
}
NAMES: dict[Family, str] = {
    "causal": "a causal language model",
    "classification": "a model for sequence classification",
    "seq2seq": "an encoder-decoder model",
}
PEFT_TASKS: dict[Family, str] = {"causal": "CAUSAL_LM", "classification": "SEQ_CLS", "seq2seq": "SEQ_2_SEQ_LM"}


def find(name: str, config: PreTrainedConfig, asked: Family | None) -> Family:
    """The family of a model: as asked for, else as its config says.

    An encoder is for classification, a pair of encoder and decoder for text from text, all others are causal.
    Raises ModelError where transformers has no class of this family for the model, or only one with a random head.
    """
    encoder = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    paired = bool(getattr(config, "is_encoder_decoder", False))
    family: Family = asked or ("seq2seq" if paired else "classification" if encoder else "causal")
    random_head = family == "causal" and (encoder or paired)
    if random_head or type(config) not in MAPPINGS[family]:
        kind = ", ".join(config.architectures or []) or config.model_type
        raise ModelError(f"{name} is not {NAMES[family]} but {kind}")
    return family


def heads(model: PreTrainedModel, missing: Sequence[str]) -> tuple[str, ...]:
    """The modules of a classification model that belong to a task and not to the base, by dotted name.

    They are all that stands outside of its backbone, and a pooler that the checkpoint does not have.
    """
    outside = [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]
    poolers = {key[: key.index("pooler") + len("pooler")] for key in missing if ".pooler." in key}
    return (*sorted(poolers), *outside)


def within(name: str, modules: Collection[str]) -> bool:
    """Whether a dotted name is one of the modules, or stands in one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
