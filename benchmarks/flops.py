"""Counts the arithmetic of matrix products as they run, from the shapes of each."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten


def counter() -> FlopCounterMode:
    """torch's counter, with the operators that it misses: products added in place and a CPU's attention.

    An element-wise operation counts nothing; a multiply-add is two operations; of causal attention only the
    pairs that are seen count. What stands in padding counts: it is run.
    """
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten.addmm_: _added,
            aten.baddbmm_: _added,
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


def _raw(formula: Any) -> Any:
    """Marks a formula that takes the tensors themselves rather than their shapes."""
    formula._get_raw = True
    return formula


@_raw
def _added(out: Tensor, a: Tensor, b: Tensor, **_: Any) -> int:
    """out += a b with a (..., M, K) and b (..., K, N)."""
    return 2 * a.numel() * b.shape[-1]


@_raw
def _attention(
    query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, is_causal: bool = False, **_: Any
) -> int:
    return round(_seen(query, is_causal) * sdpa_flop_count(query.shape, key.shape, value.shape))


@_raw
def _attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout: float,
    is_causal: bool,
    **_: Any,
) -> int:
    return round(_seen(query, is_causal) * sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape))


def _seen(query: Tensor, is_causal: bool) -> float:
    """The share of (query, key) pairs that is looked at."""
    length = query.shape[2]
    return (length + 1) / (2 * length) if is_causal else 1.0
