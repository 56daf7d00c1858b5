"""About how much memory a stage takes: weights, what trains and its optimizer, and the activations of one pass."""

from collections.abc import Mapping, Sequence

from tenfold.base import Base
from tenfold.config import TrainingSettings
from tenfold.training.losses import chunk_bytes
from tenfold.training.plan import Lane

OPTIMIZER_BYTES = {"adafactor": 0, "adamw_8bit": 2, "adamw_bnb_8bit": 2}  # a parameter; Adam's two moments are 8
HEAD_COPIES = 2  # logits that become their gradients, and one more where they are not float32


def weights(base: Base) -> int:
    """Bytes of the base's parameters."""
    return sum(parameter.numel() * parameter.element_size() for parameter in base.model.parameters())


def trained(parameters: int, training: TrainingSettings, own_weights: bool) -> int:
    """Bytes of gradients and optimizer state in float32, and of the weights where they are not the base's."""
    return parameters * ((8 if own_weights else 4) + OPTIMIZER_BYTES.get(training.optimizer, 8))


def activations(lane: Lane, lengths: Mapping[str, Sequence[int]], base: Base, checkpointed: bool) -> int:
    """Bytes that the longest rows of a pass leave for the backward pass, by a fit to Llama-like layers.

    A layer keeps about 12 D + 4 (MLP width) + 4 (width of keys) floats a token; measured with SmolLM2 in float32
    at 250 to 930 tokens, the whole is right to a third. No sharing of prompts is counted on.
    """
    longest = sorted((length for feed in lane.feeds for length in lengths[feed.task]), reverse=True)
    tokens = sum(longest[: lane.training.micro_batch_size])
    config = base.model.config.get_text_config()
    width = config.hidden_size
    heads = config.num_attention_heads
    keys = width * (getattr(config, "num_key_value_heads", None) or heads) // heads
    layer = 12 * width + 4 * (getattr(config, "intermediate_size", None) or 4 * width) + 4 * keys
    floats = (2 * layer + config.num_hidden_layers * width) if checkpointed else config.num_hidden_layers * layer
    return int(tokens * floats * base.dtype.itemsize + HEAD_COPIES * chunk_bytes(base))
