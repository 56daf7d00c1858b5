"""Cross entropy where there is a label, a chunk of positions at a time, straight into gradients.

The logits of all supervised positions at once would be the largest tensor of a step (V is 49,152 or more), so
each chunk goes through the head, gives its loss and its gradient on the hidden states, and is forgotten. The
backbone's backward pass then runs once, from the collected gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.base.head import logits
from tenfold.base.model import Base
from tenfold.base.pack import Targets

CHUNK_BYTES = 64 << 20


def chunk_size(base: Base) -> int:
    """Positions whose float32 logits take about CHUNK_BYTES."""
    return max(16, CHUNK_BYTES // (4 * int(base.model.config.get_text_config().vocab_size)))


def backward(base: Base, hidden: Tensor, targets: Targets, scale: Tensor) -> Tensor:
    """Add the gradients of ``sum(scale * nll)`` to everything that requires one; hidden (T, D), scale (K,).

    Returns the nll of each target (K,), float32, detached.
    """
    size = chunk_size(base)
    gradient, found = torch.zeros_like(hidden), []
    for index, token, factor in zip(
        *(torch.split(x, size) for x in (targets.hidden, targets.token, scale)), strict=True
    ):
        part = hidden.detach()[index].requires_grad_()
        losses = F.cross_entropy(logits(base.model, part).float(), token, reduction="none")
        (losses * factor).sum().backward()
        gradient.index_add_(0, index, part.grad)  # type: ignore[arg-type]
        found.append(losses.detach())
    hidden.backward(gradient)  # type: ignore[no-untyped-call]
    return torch.cat(found)
