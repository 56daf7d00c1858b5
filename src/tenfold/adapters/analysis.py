"""What adapters did to the weights: how large the change dW of each layer's weight W is, and where it points.

Measures of Hu et al. 2021, arXiv:2106.09685: how far dW amplifies its own directions of W (section 7.3), and how much
the spaces of two adapters' top directions overlap (section 7.2, appendix G).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tenfold.adapters.bank import Bank, Installed
from tenfold.adapters.spectrum import Spectrum, shared, spectrum
from tenfold.base.quantize import matrix
from tenfold.errors import AdapterError
from tenfold.progress import SILENT, Progress

DIRECTIONS = 8
"""Top directions that are looked at where a kind's change is of full rank."""
Value = float | None


@dataclass(frozen=True)
class Change:
    """What one adapter did to one layer. None where dW is zero.

    values: singular values of dW, from the largest on. norm: ||dW||_F. relative: ||dW||_F / ||W||_F.
    stable_rank: ||dW||_F^2 / ||dW||_2^2. directions: R, how many top directions U, V of dW are looked at.
    along: ||U^T W V||_F, what W has there; along_own: the same with W's own top R directions. amplification,
    amplification_own: ||dW||_F over these.
    """

    adapter: str
    layer: str
    values: list[float]
    norm: float
    relative: Value
    stable_rank: Value
    directions: int
    along: float
    along_own: float
    amplification: Value
    amplification_own: Value


@dataclass(frozen=True)
class Overlap:
    """How much the top directions of two adapters share on one layer, from 0 to 1 (``spectrum.shared``).

    written, read: of what goes out (U, in D_out) and of what is looked at (V, in D_in). written_by_chance,
    read_by_chance: what random directions share on average, max(i, j) / D.
    """

    one: str
    other: str
    layer: str
    written: float
    read: float
    written_by_chance: float
    read_by_chance: float


@dataclass(frozen=True)
class Analysis:
    """All of it, in the model's order. refused: adapters whose change is no matrix, with the reason."""

    changes: list[Change] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> list[str]:
        """The adapters that are not refused, by name."""
        return sorted({one.adapter for one in self.changes})


@torch.no_grad()
def analyse(bank: Bank, *, directions: int | None = None, progress: Progress = SILENT) -> Analysis:
    """Every adapter of the bank on every layer that it sits on.

    directions: top directions that are looked at, at most; all of a low-rank change by default, 8 of any other.
    Raises AdapterError for directions below 1.
    """
    if directions is not None and directions < 1:
        raise AdapterError(f"directions {directions}: must be at least 1")
    found = Analysis()
    held = {layer for adapter in bank.adapters.values() for layer in adapter.modules}
    layers = [(name, module) for name, module in bank.base.model.named_modules() if name in held]
    with progress.start("inspecting", len(layers), "layers") as task:
        for name, module in layers:
            spectra = _spectra(bank.adapters, name, module, found.refused)
            if spectra:
                _measure(found, name, module, spectra, directions)
            task.advance()
    return found


def layer_type(layer: str) -> str:
    """The last part of a dotted name."""
    return layer.rpartition(".")[2]


def mean(values: Iterable[Value]) -> Value:
    """Of those that are there."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _spectra(
    adapters: dict[str, Installed], layer: str, module: nn.Module, refused: dict[str, str]
) -> dict[str, Spectrum]:
    """By adapter, for those on this layer whose change is a matrix; the others are noted with the reason."""
    spectra = {}
    for name, adapter in adapters.items():
        if layer in adapter.modules and name not in refused:
            one = spectrum(adapter.modules[layer], module)
            if one is None:
                refused[name] = f"no matrix does what {adapter.kind} does"
            else:
                spectra[name] = one
    return spectra


def _measure(
    found: Analysis, layer: str, module: nn.Module, spectra: dict[str, Spectrum], directions: int | None
) -> None:
    """Add what one layer shows."""
    weight = matrix(module)
    assert weight is not None, "a change of a weight that is not there"
    weight = weight.float()
    gram = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
    own = torch.linalg.eigvalsh(gram).flip(0).clamp(min=0)  # squares of W's singular values
    tops = {}
    for name, one in spectra.items():
        low = len(one.values) < min(weight.shape)
        tops[name] = one.top(directions or (len(one.values) if low else DIRECTIONS))
        found.changes.append(_change(name, layer, one, tops[name], weight, own))
    names = [name for name, top in tops.items() if len(top.values)]
    pairs = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    found.overlaps.extend(_overlap(one, other, layer, tops[one], tops[other]) for one, other in pairs)


def _change(name: str, layer: str, whole: Spectrum, top: Spectrum, weight: Tensor, own: Tensor) -> Change:
    norm, largest, count = float(whole.values.norm()), float(whole.values[0]), len(top.values)
    along = float((top.left.T @ weight @ top.right.T).norm())
    along_own = float(own[:count].sum().sqrt())
    return Change(
        adapter=name, layer=layer, values=whole.values.tolist(), norm=norm,
        relative=_over(norm, float(own.sum().sqrt())), stable_rank=_over(norm**2, largest**2),
        directions=count, along=along, along_own=along_own,
        amplification=_over(norm, along), amplification_own=_over(norm, along_own),
    )  # fmt: skip


def _over(value: float, by: float) -> Value:
    return value / by if by else None


def _overlap(one: str, other: str, layer: str, a: Spectrum, b: Spectrum) -> Overlap:
    most = max(len(a.values), len(b.values))
    return Overlap(
        one=one, other=other, layer=layer, written=shared(a.left, b.left), read=shared(a.right.T, b.right.T),
        written_by_chance=most / a.left.shape[0], read_by_chance=most / a.right.shape[1],
    )  # fmt: skip


def changes_by_type(found: Analysis) -> dict[tuple[str, str], list[Change]]:
    """By adapter and layer type."""
    grouped: dict[tuple[str, str], list[Change]] = {}
    for name in found.shown:
        for one in found.changes:
            if one.adapter == name:
                grouped.setdefault((name, layer_type(one.layer)), []).append(one)
    return grouped


def overlaps_by_type(found: Analysis) -> dict[str, dict[tuple[str, str], list[Overlap]]]:
    """By layer type and, both ways round, by pair of adapters."""
    grouped: dict[str, dict[tuple[str, str], list[Overlap]]] = {}
    for one in found.overlaps:
        pairs = grouped.setdefault(layer_type(one.layer), {})
        for pair in (one.one, one.other), (one.other, one.one):
            pairs.setdefault(pair, []).append(one)
    return grouped
