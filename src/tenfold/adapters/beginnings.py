"""A LoRA's first A and B as a part of the weight that it sits on.

PiSSA: the leading singular directions (Meng et al. 2024, arXiv:2404.02948), with ``pissa_niter_N`` by N rounds of
subspace iteration. OLoRA: the first columns of Q and rows of R in W = Q R (Büyükakyüz 2024, arXiv:2406.01775).
"""

import torch
from torch import Tensor


def draw(way: str, weight: Tensor, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    """weight (D_out, D_in) -> A (R, D_in), B (D_out, R) in float32; scale * B A is a part of the weight in PiSSA.

    OLoRA's A and B do not make up for the scale, as in PEFT.
    """
    weight = weight.detach().float()
    if way == "olora":
        q, r = torch.linalg.qr(weight)
        return r[:rank], q[:, :rank]
    rounds = way.removeprefix("pissa").removeprefix("_niter_")
    u, s, vt = leading(weight, rank, int(rounds)) if rounds else torch.linalg.svd(weight, full_matrices=False)
    root = (s[:rank] / scale).sqrt()
    return root[:, None] * vt[:rank], u[:, :rank] * root


def leading(matrix: Tensor, rank: int, rounds: int, start: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The leading singular vectors and values of a matrix (M, D): u (M, R), s (R,), vt (R, D).

    By subspace iteration from rows ``start`` (any number, D) and random ones (Halko et al. 2011, arXiv:0909.4061):
    as good as the gap behind the wanted values and the rounds make it. The same numbers every time.
    """
    m, d = matrix.shape
    drawn = torch.randn(d, rank + 8, generator=torch.Generator().manual_seed(0)).to(matrix)
    q = drawn if start is None else torch.cat([start.T, drawn], 1)
    for _ in range(rounds):
        inner, _ = torch.linalg.qr(matrix @ q[:, : min(m, d)])
        q, _ = torch.linalg.qr(matrix.T @ inner)
    u, s, vt = torch.linalg.svd(matrix @ q, full_matrices=False)
    return u[:, :rank], s[:rank], vt[:rank] @ q.T
