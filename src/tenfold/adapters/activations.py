"""In which directions a layer's inputs are largest, over some training rows, in memory of the size of a rank.

EVA begins LoRA's A with them (Paischer et al. 2024, arXiv:2410.07170): the leading right singular vectors of all
inputs of the layer, one below the other. They are not centred, and all tokens of the rows count.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.adapters._base import Layer
from tenfold.adapters.beginnings import leading
from tenfold.base.head import forward
from tenfold.base.layout import Group, Row
from tenfold.base.model import Base
from tenfold.base.pack import pack
from tenfold.base.probe import running
from tenfold.errors import AdapterError
from tenfold.progress import SILENT, Progress

MOST_ROWS = 128
"""Rows that are looked at."""
SPARE, ROUNDS = 16, 4
"""Directions kept beyond twice those wanted, and rounds of subspace iteration for each batch."""


def directions(
    base: Base,
    layers: Sequence[Layer],
    rows: Sequence[Row],
    count: int,
    *,
    seed: int = 0,
    batch: int = 16,
    progress: Progress = SILENT,
) -> dict[str, Tensor]:
    """By layer, the ``count`` leading directions (count, D_in) of its inputs under the base alone, orthonormal.

    rows: if there are more than MOST_ROWS, so many of them, drawn by the seed; ``batch`` of them in one pass.
    Raises AdapterError where a layer's inputs have fewer directions, and for models with an encoder and a decoder.
    """
    if base.family == "seq2seq":
        raise AdapterError("eva is not built for encoder-decoder models")
    order = np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS]
    chosen = [rows[i] for i in order]
    inputs = _Inputs(2 * count + SPARE)
    names = [layer.name for layer in layers]
    with running(base) as way, torch.no_grad(), inputs.taken(base.model, names), progress.start(
        "reading what the layers see", len(chosen), "rows"
    ) as bar:  # fmt: skip
        for at in range(0, len(chosen), batch):
            packed = pack([Group(chosen[at : at + batch], share=False)], way.path, base.device, pad=base.pad)
            mask = packed.attention_mask
            every = torch.ones(packed.tokens, dtype=torch.bool, device=base.device)
            inputs.real = every if mask is None else mask.flatten().bool()
            forward(base, packed)
            bar.advance(min(batch, len(chosen) - at))
    return {name: _first(name, inputs.sketches[inputs.owner[name]], count) for name in names}


def _first(name: str, sketch: Tensor, count: int) -> Tensor:
    sizes = torch.linalg.vector_norm(sketch, dim=1)
    there = int((sizes > 1e-6 * sizes[0]).sum())
    if there < count:
        raise AdapterError(f"the training rows give layer {name!r} {there} directions, fewer than the {count} wanted")
    return sketch[:count].div(sizes[:count, None])


@dataclass
class _Inputs:
    """Sketches of layers' inputs; layers that are given the very same tensor share one.

    keep: rows of a sketch.     real (T,): which of a pass's flattened tokens are no padding.
    sketches: (K, D) by the layer that sees the tensor first, the leading directions times how large they are.
    owner: of each layer, that first layer.
    """

    keep: int
    real: Tensor = field(default_factory=lambda: torch.empty(0))
    sketches: dict[str, Tensor] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)
    last: tuple[str, Tensor] | None = None

    @contextmanager
    def taken(self, model: nn.Module, names: Sequence[str]) -> Iterator[None]:
        """While the block runs, what goes into these layers is looked at."""
        hooks = [model.get_submodule(name).register_forward_pre_hook(partial(self._see, name)) for name in names]
        try:
            yield
        finally:
            self.last = None
            for hook in hooks:
                hook.remove()

    def _see(self, name: str, _: nn.Module, given: tuple[Tensor]) -> None:
        if self.last is None or self.last[1] is not given[0]:
            self.last = name, given[0]
            rows = given[0].flatten(0, -2).float()
            rows = rows[self.real] if len(rows) == len(self.real) else rows  # behind pooling there is no padding
            self.sketches[name] = _joined(self.sketches.get(name), rows, self.keep)
        self.owner[name] = self.last[0]


def _joined(sketch: Tensor | None, rows: Tensor, keep: int) -> Tensor:
    """The leading directions of a sketch (K, D) and more rows (T, D), times how large they are."""
    both = rows if sketch is None else torch.cat([sketch, rows])
    if min(both.shape) > 2 * keep:
        _, sizes, vectors = leading(both, keep, ROUNDS, sketch)
    else:
        _, sizes, vectors = torch.linalg.svd(both, full_matrices=False)
    return vectors[:keep].mul(sizes[:keep, None])
