"""The change dW that an adapter makes to a weight, as singular values and directions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tenfold.adapters._base import Adapter, LowRank
from tenfold.base.quantize import matrix


@dataclass(frozen=True)
class Spectrum:
    """dW = left diag(values) right: left (D_out, K), values (K,) from the largest on, right (K, D_in).

    noise: singular values up to this are rounding errors of how dW was had.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    noise: float = 0.0

    def top(self, most: int) -> "Spectrum":
        """At most so many directions, without those that are rounding errors; none at all of a change that is zero."""
        size = max(self.left.shape[0], self.right.shape[1])
        least = float(self.values[0]) * size * torch.finfo(self.values.dtype).eps
        count = min(most, int((self.values > max(least, self.noise)).sum()))
        return Spectrum(self.left[:, :count], self.values[:count], self.right[:count])


@torch.no_grad()
def spectrum(part: Adapter, frozen: nn.Module) -> Spectrum | None:
    """What an adapter's part does to the weight of its frozen module, None where no matrix does the same.

    A low-rank change is had from its factors; of any other, merged - W is formed, in float32.
    """
    if (product := part.low_rank(training=False)) is not None:
        return factorise(product)
    weight = matrix(frozen)
    if weight is None:
        return None
    weight = weight.float()
    merged = part.merge(weight, None)
    if merged is None:
        return None
    left, values, right = torch.linalg.svd(merged[0] - weight, full_matrices=False)
    return Spectrum(left, values, right, noise=float(weight.norm()) * torch.finfo(weight.dtype).eps)


def factorise(product: LowRank) -> Spectrum:
    """The spectrum of ``scale * b @ a``: QR of both factors, then an SVD of (R, R)."""
    left, inner_left = torch.linalg.qr(product.b.float())
    right, inner_right = torch.linalg.qr(product.a.float().T)
    u, values, v = torch.linalg.svd(inner_left @ inner_right.T * product.scale, full_matrices=False)
    return Spectrum(left @ u, values, v @ right.T)


def shared(a: Tensor, b: Tensor) -> float:
    """How much two spaces, given by orthonormal columns (D, i) and (D, j), share: 1 where one lies in the other.

    ``||A^T B||_F^2 / min(i, j)``, the normalised measure of Hu et al. 2021, arXiv:2106.09685, appendix G.
    """
    return float((a.T @ b).square().sum()) / min(a.shape[1], b.shape[1])
