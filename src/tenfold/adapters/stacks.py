"""Many low-rank updates at once: the matrices of all compositions in a batch stacked, for one batched product.

A composition whose adapters are low-rank everywhere is itself a low-rank update, whose rank is the sum of theirs. Those
with the same ranks on the same layers share a stack: A (N, R, D_in) and B (N, R, D_out) for each layer.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tenfold.adapters._base import Layer
from tenfold.adapters.bank import Bank
from tenfold.adapters.composition import BASE, Composition, Frame, frame_of
from tenfold.base.attention import attention
from tenfold.base.head import hidden_states

ALONE = 32  # a product of its own costs as much as this many padded rows in a batched one
BATCHED = 60  # and so much the gathering for a batched one
KEPT = 2  # stacks: where a pass needs fewer, the last that others needed stay
REMEMBERED = 4096  # shapes of compositions

Key = tuple[tuple[str, float], ...]
"""What adapters contain, with weights: a composition by generations."""
Shape = tuple[tuple[str, int], ...]
"""Layers with their ranks."""


class Stack:
    """Updates of one shape. Slots 0 to N - 1 hold those of the pass that was arranged last.

    size: how many slots there are. b[layer] (slots, R, D_out) with scales and weights in it. families: layers that are
    given the same: joint[layer] (slots, R', D_in) is A of its whole family, and part[layer] says which of those R'
    are its own.
    """

    def __init__(self, bank: Bank, shape: Shape, families: Sequence[Sequence[str]]) -> None:
        self.bank, self.shape = bank, shape
        own = {layer for layer, _ in shape}
        found = [[layer for layer in family if layer in own] for family in families]
        self.families = [family for family in found if family]
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
                self._write(slot, composition)
                self._slots[key] = slot
        return {key: self._slots[key] for key in wanted}

    def _grow(self, slots: int) -> None:
        """So many slots, with what is in those that there are."""
        ranks, self.size = dict(self.shape), slots
        for family in self.families:
            rank, at = sum(ranks[layer] for layer in family), 0
            place = self.bank.linear[family[0]]
            joint = self._wider(self.joint.get(family[0]), place, (slots, rank, place.d_in))
            for layer in family:
                place = self.bank.linear[layer]
                self.joint[layer], self.part[layer] = joint, slice(at, at + ranks[layer])
                self.b[layer] = self._wider(self.b.get(layer), place, (slots, ranks[layer], place.d_out))
                at += ranks[layer]

    def _wider(self, old: Tensor | None, place: Layer, shape: tuple[int, int, int]) -> Tensor:
        new = torch.empty(shape, dtype=self.bank.base.dtype, device=self.bank.device_of(place))
        if old is not None:
            new[: len(old)] = old
        return new

    def _write(self, slot: int, composition: Composition) -> None:
        for layer, _ in self.shape:
            a, b, at = self.joint[layer][slot, self.part[layer]], self.b[layer][slot], 0
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


class _Use(NamedTuple):
    """Rows on one layer. joint (N, D_in, R'), b (N, R, D_out): of the slots that are used. key: whose joint it is."""

    rows: Rows
    key: tuple[int, int]
    joint: Tensor
    part: slice
    b: Tensor


class Stacked:
    """The stacked updates of one pass, or of many that are arranged alike."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._uses: dict[str, list[_Use]] = {}
        for one in rows:
            for layer, _ in one.stack.shape:
                self._uses.setdefault(layer, []).append(_use(one, layer))
        self._given: Tensor | None = None
        self._gathered: dict[int, Tensor] = {}
        self._lows: dict[tuple[int, int], Tensor] = {}

    def add(self, layer: str, given: Tensor, x: Tensor, y: Tensor) -> None:
        """Add a layer's updates to y (T, D_out) in place. x (T, D_in): what the layer was given, flat."""
        if self._given is not given:  # layers that are given the same share what is made of it
            self._given, self._gathered, self._lows = given, {}, {}
        for use in self._uses.get(layer, ()):
            for slot, start, stop in use.rows.alone:
                y[start:stop].addmm_(x[start:stop] @ use.joint[slot, :, use.part], use.b[slot])
            if use.rows.even or use.rows.index is not None:
                self._batched(use, x, y)

    def _batched(self, use: _Use, x: Tensor, y: Tensor) -> None:
        rows = use.rows
        if use.key not in self._lows:
            self._lows[use.key] = torch.bmm(self._given_to(rows, x), use.joint)
        low = self._lows[use.key][:, :, use.part]
        if rows.even:
            y[rows.start : rows.stop].view(rows.slots, rows.even, -1).baddbmm_(low, use.b)
            return
        assert rows.inverse is not None, "padded rows with no way back"
        found = torch.bmm(low, use.b).flatten(0, 1).index_select(0, rows.inverse)
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


def _use(rows: Rows, layer: str) -> _Use:
    stack, slots = rows.stack, rows.slots
    joint = stack.joint[layer]
    key = (rows.start, id(joint))
    return _Use(rows, key, joint[:slots].transpose(1, 2), stack.part[layer], stack.b[layer][:slots])


class Stacks:
    """All stacks of a bank that passes of one engine use. Parameters must not change in the meantime."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._stacks: dict[Shape, Stack] = {}
        self._shapes: dict[Key, Shape] = {}
        self._last: tuple[list[Composition], list[Key]] | None = None
        self._arranged: tuple[list[int], Frame] = ([], Frame([]))

    @functools.cached_property
    def _families(self) -> list[list[str]]:
        return families(self.bank)

    def arrange(self, compositions: Sequence[Composition]) -> tuple[list[int], Frame]:
        """Rows of one token each, by composition -> the order in which a pass takes them, and its frame."""
        now = list(compositions), [self._key(one) for one in compositions]
        if now != self._last:
            self._last, self._arranged = now, self._arrange(*now)
        return self._arranged

    def _arrange(self, compositions: list[Composition], keys: list[Key]) -> tuple[list[int], Frame]:
        members: dict[Shape, list[int]] = {}
        for i, composition in enumerate(compositions):
            members.setdefault(self._shape(composition, keys[i]), []).append(i)
        plain = sorted(members.pop((), []), key=lambda i: compositions[i])
        self._keep(members)
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
        return order + plain, Frame(frame_of(lengths).segments, stacked=Stacked(rows) if rows else None)

    def _keep(self, shapes: Iterable[Shape]) -> None:
        """Stacks of these shapes, and of the last few others: what comes again is not written again."""
        now = {shape: self._stacks.get(shape) or Stack(self.bank, shape, self._families) for shape in shapes}
        others = {shape: stack for shape, stack in self._stacks.items() if shape not in now}
        room = max(0, KEPT - len(now))
        self._stacks = dict([*others.items()][-room:] if room else []) | now

    def _key(self, composition: Composition) -> Key:
        return tuple((self.bank.get(name).generation, weight) for name, weight in composition)

    def _shape(self, composition: Composition, key: Key) -> Shape:
        """Its layers with ranks; () where it is the base, or not low-rank on each of them."""
        if key not in self._shapes:
            if len(self._shapes) >= REMEMBERED:
                self._shapes.clear()
            self._shapes[key] = self._shape_of(composition)
        return self._shapes[key]

    def _shape_of(self, composition: Composition) -> Shape:
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


def families(bank: Bank) -> list[list[str]]:
    """Linear layers that are given the very same tensor, as one token shows that goes through the base alone."""
    found, last = list[list[str]](), list[object]([None])

    def see(name: str, given: object) -> None:
        if given is not last[0]:
            last[0] = given
            found.append([])
        found[-1].append(name)

    hooks = [
        bank.frozen[name].register_forward_pre_hook(lambda _, args, name=name: see(name, args[0]))
        for name in bank.linear
    ]
    try:
        zero = torch.zeros(1, 1, dtype=torch.long, device=bank.base.device)
        with torch.inference_mode(), attention(bank.base.model, "eager"):
            hidden_states(bank.base.model, zero, zero)
    finally:
        for hook in hooks:
            hook.remove()
    seen = {name for family in found for name in family}
    return found + [[name] for name in bank.linear if name not in seen]


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
