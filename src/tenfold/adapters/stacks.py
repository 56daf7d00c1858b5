"""Many low-rank updates at once: the matrices of all compositions in a batch stacked, for one batched product.

A composition whose adapters are low-rank everywhere is itself a low-rank update, whose rank is the sum of theirs. Those
with the same ranks on the same layers share a stack: A (N, R, D_in) and B (N, R, D_out) for each layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import BASE, Composition, Frame, frame_of

ALONE = 32  # a product of its own costs as much as this many padded rows in a batched one
BATCHED = 60  # and so much the gathering for a batched one

Key = tuple[tuple[str, float], ...]
"""What adapters contain, with weights: a composition by generations."""
Shape = tuple[tuple[str, int], ...]
"""Layers with their ranks."""


class Stack:
    """Updates of one shape. Slots 0 to N - 1 hold those of the pass that was arranged last.

    size: how many slots there are. a[layer] (slots, R, D_in), b[layer] (slots, R, D_out) with scales and weights in it.
    Layers that are given the same are a family, known once a pass has been through: joint[layer] (slots, R', D_in) is A
    of its whole family, and part[layer] says which of those R' are its own.
    """

    def __init__(self, bank: Bank, shape: Shape) -> None:
        self.bank, self.shape = bank, shape
        self.families: list[list[str]] | None = None
        self.a: dict[str, Tensor] = {}
        self.b: dict[str, Tensor] = {}
        self.joint: dict[str, Tensor] = {}
        self.part: dict[str, slice] = {}
        self.size = 0
        self._slots: dict[Key, int] = {}

    def arrange(self, wanted: dict[Key, Composition]) -> dict[Key, int]:
        """Put these into the first slots, moving as few as possible -> the slot of each."""
        count = len(wanted)
        if count > self.size:
            self._grow(max(count, 3 * self.size // 2))
        owners = {slot: key for key, slot in self._slots.items()}
        free = [slot for slot in range(count) if owners.get(slot) not in wanted]
        for key, composition in wanted.items():
            if self._slots.get(key, count) >= count:
                slot = free.pop()
                self._slots.pop(owners.get(slot, key), None)
                self._slots[key] = slot
                self._write(slot, composition)
        return {key: self._slots[key] for key in wanted}

    def learn(self, families: Sequence[Sequence[str]]) -> None:
        """Which layers are given the same. What was in the slots is written again."""
        own = {layer for layer, _ in self.shape}
        found = [[layer for layer in family if layer in own] for family in families]
        known = {layer for family in found for layer in family}
        self.families = [family for family in found if family] + [[layer] for layer in own - known]
        self._grow(self.size)

    def _grow(self, slots: int) -> None:
        """So many slots, all free: what was there is written again."""
        self.size = slots
        self._slots.clear()
        ranks = dict(self.shape)
        for family in self.families or [[layer] for layer in ranks]:
            joint = self._empty(family[0], slots, sum(ranks[layer] for layer in family), wide=False)
            at = 0
            for layer in family:
                self.joint[layer], self.part[layer] = joint, slice(at, at + ranks[layer])
                self.a[layer] = joint[:, self.part[layer]]
                self.b[layer] = self._empty(layer, slots, ranks[layer], wide=True)
                at += ranks[layer]

    def _empty(self, layer: str, slots: int, rank: int, *, wide: bool) -> Tensor:
        place = self.bank.linear[layer]
        shape = (slots, rank, place.d_out if wide else place.d_in)
        return torch.empty(shape, dtype=self.bank.base.dtype, device=self.bank.device_of(place))

    def _write(self, slot: int, composition: Composition) -> None:
        for layer, _ in self.shape:
            a, b, at = self.a[layer][slot], self.b[layer][slot], 0
            for name, weight in composition:
                part = self.bank.get(name).modules.get(layer)
                product = part.low_rank(False) if part is not None else None
                if product is not None:
                    rank = len(product.a)
                    a[at : at + rank] = product.a
                    b[at : at + rank] = product.b.T
                    b[at : at + rank] *= product.scale * weight
                    at += rank


@dataclass
class Rows:
    """A stack's rows [start, stop) of a pass, sorted by slot.

    even: rows of each slot where all have as many. alone: (slot, start, stop) of those that get a product of their own.
    index (N * m,), inverse (n,): the others padded to m rows a slot (those alone too, with any row): which row each is,
    and where in the padding each row is. places (n,): which rows those are, None where that is all of them.
    """

    stack: Stack
    start: int
    stop: int
    slots: int
    even: int | None = None
    alone: list[tuple[int, int, int]] = field(default_factory=list)
    index: Tensor | None = None
    inverse: Tensor | None = None
    places: Tensor | None = None


class Stacked:
    """The stacked updates of one pass."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._uses: dict[str, list[Rows]] = {}
        for one in rows:
            for layer, _ in one.stack.shape:
                self._uses.setdefault(layer, []).append(one)
        self.families: list[list[str]] = []
        self._given: Tensor | None = None
        self._gathered: dict[int, Tensor] = {}
        self._lows: dict[tuple[int, int], Tensor] = {}

    @property
    def stacks(self) -> list[Stack]:
        """That it uses."""
        return list({id(rows.stack): rows.stack for uses in self._uses.values() for rows in uses}.values())

    def add(self, layer: str, given: Tensor, x: Tensor, y: Tensor) -> None:
        """Add a layer's updates to y (T, D_out) in place. x (T, D_in): what the layer was given, flat."""
        if self._given is not given:  # layers that are given the same share what is made of it
            self._given, self._gathered, self._lows = given, {}, {}
            self.families.append([])
        self.families[-1].append(layer)
        for rows in self._uses.get(layer, ()):
            for slot, start, stop in rows.alone:
                y[start:stop].addmm_(x[start:stop] @ rows.stack.a[layer][slot].T, rows.stack.b[layer][slot])
            if rows.even or rows.index is not None:
                self._batched(rows, layer, x, y)

    def _batched(self, rows: Rows, layer: str, x: Tensor, y: Tensor) -> None:
        joint = rows.stack.joint[layer]
        if (rows.start, id(joint)) not in self._lows:
            low = torch.bmm(self._given_to(rows, x), joint[: rows.slots].transpose(1, 2))
            self._lows[rows.start, id(joint)] = low
        low = self._lows[rows.start, id(joint)][:, :, rows.stack.part[layer]]
        b = rows.stack.b[layer][: rows.slots]
        if rows.even:
            y[rows.start : rows.stop].view(rows.slots, rows.even, -1).baddbmm_(low, b)
            return
        assert rows.inverse is not None, "padded rows with no way back"
        found = torch.bmm(low, b).flatten(0, 1).index_select(0, rows.inverse)
        if rows.places is not None:
            y.index_add_(0, rows.places, found)
        else:
            y[rows.start : rows.stop].add_(found)

    def _given_to(self, rows: Rows, x: Tensor) -> Tensor:
        """x's rows of a stack as (N, m, D_in)."""
        if rows.even:
            return x[rows.start : rows.stop].view(rows.slots, rows.even, -1)
        assert rows.index is not None, "rows that are not padded"
        if rows.start not in self._gathered:
            self._gathered[rows.start] = x.index_select(0, rows.index).view(rows.slots, -1, x.shape[-1])
        return self._gathered[rows.start]


class Stacks:
    """All stacks of a bank that passes of one engine use. Parameters must not change in the meantime."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._stacks: dict[Shape, Stack] = {}
        self._last: tuple[list[Composition], list[Key]] | None = None
        self._arranged: tuple[list[int], Frame] = ([], Frame([]))
        self._together: Stacked | None = None

    def arrange(self, compositions: Sequence[Composition]) -> tuple[list[int], Frame]:
        """Rows of one token each, by composition -> the order in which a pass takes them, and its frame."""
        now = list(compositions), [self._key(one) for one in compositions]
        if self._learn() or now != self._last:
            self._last, self._arranged = now, self._arrange(*now)
        return self._arranged

    def _learn(self) -> bool:
        """Tell new stacks which layers are given the same, as the last pass has found -> whether any was new."""
        last = self._together
        new = [stack for stack in last.stacks if stack.families is None] if last and last.families else []
        for stack in new:
            stack.learn(last.families if last else [])
        if last:
            last.families.clear()
        return bool(new)

    def _arrange(self, compositions: list[Composition], keys: list[Key]) -> tuple[list[int], Frame]:
        members: dict[Shape, list[int]] = {}
        for i, composition in enumerate(compositions):
            members.setdefault(self._shape(composition), []).append(i)
        plain = sorted(members.pop((), []), key=lambda i: compositions[i])
        self._stacks = {shape: self._stacks.get(shape) or Stack(self.bank, shape) for shape in members}
        order, rows = list[int](), list[Rows]()
        for shape, numbers in members.items():
            slots = self._stacks[shape].arrange({keys[i]: compositions[i] for i in numbers})
            numbers.sort(key=lambda i: slots[keys[i]])
            counts = [0] * len(slots)
            for i in numbers:
                counts[slots[keys[i]]] += 1
            rows.append(_layout(self._stacks[shape], counts, len(order), self.bank.base.device))
            order += numbers
        lengths = [(BASE, 1)] * len(order) + [(compositions[i], 1) for i in plain]
        self._together = Stacked(rows) if rows else None
        return order + plain, Frame(frame_of(lengths).segments, stacked=self._together)

    def _key(self, composition: Composition) -> Key:
        return tuple((self.bank.get(name).generation, weight) for name, weight in composition)

    def _shape(self, composition: Composition) -> Shape:
        """Its layers with ranks; () where it is the base, or not low-rank on each of them."""
        ranks: dict[str, int] = {}
        for name, _ in composition:
            installed = self.bank.get(name)
            if installed.copies:
                return ()
            for layer, part in installed.modules.items():
                product = part.low_rank(False) if part.adds and not part.transforms else None
                if product is None:
                    return ()
                ranks[layer] = ranks.get(layer, 0) + len(product.a)
        return tuple(sorted(ranks.items()))


def _layout(stack: Stack, counts: Sequence[int], start: int, device: torch.device) -> Rows:
    """Rows of slots 0 to N - 1, so many of each, from row ``start`` on."""
    slots, stop = len(counts), start + sum(counts)
    if min(counts) == max(counts):
        return Rows(stack, start, stop, slots, even=counts[0])
    starts = [start + sum(counts[:i]) for i in range(slots)]
    most = min({0, *counts}, key=lambda m: _cost(counts, m))
    alone = [(i, starts[i], starts[i] + n) for i, n in enumerate(counts) if n > most]
    if not most:
        return Rows(stack, start, stop, slots, alone=alone)
    padded = [(i, j) for i, n in enumerate(counts) if n <= most for j in range(n)]
    index = [starts[i] + min(j, counts[i] - 1) for i in range(slots) for j in range(most)]
    tensors = (index, [i * most + j for i, j in padded], [starts[i] + j for i, j in padded])
    found, inverse, places = (torch.tensor(one, device=device) for one in tensors)
    return Rows(stack, start, stop, slots, None, alone, found, inverse, places if alone else None)


def _cost(counts: Sequence[int], most: int) -> int:
    """In padded rows: slots with up to ``most`` rows padded to that, the others alone."""
    return sum(ALONE for n in counts if n > most) + (BATCHED + most * len(counts) if most else 0)
