"""Keys and values of the rows under way: slots of preallocated tensors, within a number of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tenfold.base.head import hidden_states
from tenfold.base.model import Base

SMALLEST = 256  # positions of the smallest slots: fewer sizes are fewer attention calls a layer
FIRST = 4  # slots of a shelf when it is put up; it doubles


@dataclass(frozen=True)
class Width:
    """Of one layer's keys and values: groups Hkv, the width of a key and of a value, and their type."""

    groups: int
    key: int
    value: int
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Of one position."""
        return self.groups * (self.key + self.value) * self.dtype.itemsize


Widths = dict[int, Width]
Copied = list[tuple[Tensor, Tensor]]
"""Keys and values (layers, Hkv, L, D) of some positions of a row, for each width of a model."""


@dataclass(eq=False)
class Seat:
    """Where a row is: a slot of a shelf."""

    shelf: "Shelf"
    slot: int


class Shelf:
    """Slots of one capacity: keys[layer] and values[layer] (slots, Hkv, capacity, D).

    Zeros at first: what is masked is finite. Layers of one width are views of one tensor.
    """

    def __init__(self, widths: Widths, capacity: int, device: torch.device) -> None:
        self.capacity, self.slots, self._device = capacity, 0, device
        self._layers = {width: [n for n, own in widths.items() if own == width] for width in set(widths.values())}
        self.slot_bytes = capacity * bytes_per_position(widths)
        self.seats: dict[int, Seat] = {}
        self._pools: Copied = []
        self.resize(0)

    def put(self, layer: int, slots: Tensor, positions: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the key and value (n, Hkv, D) of new tokens, each to its slot and position -> all of the layer's."""
        keys, values = self.keys[layer], self.values[layer]
        keys[slots, :, positions] = key
        values[slots, :, positions] = value
        return keys, values

    @property
    def bytes(self) -> int:
        """Of all slots, taken or not."""
        return self.slots * self.slot_bytes

    @property
    def used(self) -> int:
        """Slots from the first to the last that is taken."""
        return max(self.seats, default=-1) + 1

    def resize(self, slots: int) -> None:
        """Another number of slots; those that are taken move together first."""
        self.compact()
        assert slots >= len(self.seats), "rows would be lost"
        old, self._pools = self._pools, []
        for i, (width, layers) in enumerate(self._layers.items()):
            shape = (len(layers), slots, width.groups, self.capacity)
            pair = [torch.zeros(*shape, d, dtype=width.dtype, device=self._device) for d in (width.key, width.value)]
            for new, before in zip(pair, old[i] if old else (), strict=False):
                new[:, : len(self.seats)] = before[:, : len(self.seats)]
            self._pools.append((pair[0], pair[1]))
        self.slots = slots
        pools = list(zip(self._layers.values(), self._pools, strict=True))
        self.keys = {layer: keys[i] for layers, (keys, _) in pools for i, layer in enumerate(layers)}
        self.values = {layer: values[i] for layers, (_, values) in pools for i, layer in enumerate(layers)}

    def take(self) -> Seat:
        """The first free slot."""
        slot = next(slot for slot in range(self.slots) if slot not in self.seats)
        self.seats[slot] = Seat(self, slot)
        return self.seats[slot]

    def compact(self) -> None:
        """Move rows into the slots before them that are free."""
        for slot in sorted(self.seats, reverse=True):
            free = next((one for one in range(slot) if one not in self.seats), None)
            if free is None:
                return
            for pair in self._pools:
                for tensor in pair:
                    tensor[:, free] = tensor[:, slot]
            seat = self.seats[free] = self.seats.pop(slot)
            seat.slot = free

    def copy(self, slot: int, start: int, stop: int) -> Copied:
        """Positions [start, stop) of a slot."""
        return [
            (keys[:, slot, :, start:stop].clone(), values[:, slot, :, start:stop].clone())
            for keys, values in self._pools
        ]

    def fill(self, slot: int, start: int, parts: Sequence[Copied]) -> int:
        """Copied positions into a slot, one part behind the other -> where the last ends."""
        stop = start
        for i, (keys, values) in enumerate(self._pools):
            own = [torch.cat([part[i][j] for part in parts], 2) for j in (0, 1)]
            stop = start + own[0].shape[2]
            keys[:, slot, :, start:stop], values[:, slot, :, start:stop] = own
        return stop

    def wipe(self, slot: int) -> None:
        """Zeros: what is not a number would reach the slot's next row through the mask."""
        for pair in self._pools:
            for tensor in pair:
                tensor[:, slot] = 0


class Cache:
    """Shelves whose capacities double, put up and grown as rows come, within a number of bytes.

    spare: asked to give up bytes that it holds (the prefix cache) when a shelf must grow.
    """

    def __init__(self, widths: Widths, max_bytes: int, device: torch.device) -> None:
        self.widths, self.max_bytes, self.device = widths, max_bytes, device
        self.each = bytes_per_position(widths)
        self.shelves: dict[int, Shelf] = {}

    @property
    def bytes(self) -> int:
        """Of all shelves."""
        return sum(shelf.bytes for shelf in self.shelves.values())

    def take(self, length: int, most: int) -> tuple[Seat | None, int]:
        """A slot for a row of so many positions, shelves taking at most so many bytes in all -> it, or None and
        the bytes that are missing."""
        capacity = self.capacity(length)
        shelf = self.shelves.setdefault(capacity, Shelf(self.widths, capacity, self.device))
        if len(shelf.seats) == shelf.slots:
            if shelf.slot_bytes > most - self.bytes:
                self._shrink(shelf)
            room = (most - self.bytes) // shelf.slot_bytes
            if room < 1:
                return None, shelf.slot_bytes - (most - self.bytes)
            shelf.resize(shelf.slots + min(room, max(FIRST, shelf.slots)))
        return shelf.take(), 0

    def release(self, seat: Seat, *, wipe: bool) -> None:
        """Give a slot back. wipe: what is in it is not to be trusted."""
        shelf = seat.shelf
        if wipe:
            shelf.wipe(seat.slot)
        del shelf.seats[seat.slot]
        if 2 * len(shelf.seats) < shelf.used:
            shelf.compact()

    def capacity(self, length: int) -> int:
        """Of the slot that a row of so many positions gets."""
        size = SMALLEST
        while size < length:
            size *= 2
        return max(length, min(size, self.max_bytes // self.each))

    def _shrink(self, wanted: Shelf) -> None:
        """Give up the free slots of the other shelves."""
        for capacity, shelf in list(self.shelves.items()):
            if shelf is not wanted and not shelf.seats:
                del self.shelves[capacity]
            elif shelf is not wanted and len(shelf.seats) < shelf.slots:
                shelf.resize(len(shelf.seats))


class _Measure:
    """A layout that only looks at what it is handed."""

    def __init__(self) -> None:
        self.widths: Widths = {}

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """A token alone sees its own value."""
        self.widths[layer] = Width(key.shape[1], key.shape[2], value.shape[2], key.dtype)
        return value.repeat_interleave(query.shape[1] // value.shape[1], 1)


_known: WeakKeyDictionary[PreTrainedModel, Widths] = WeakKeyDictionary()


def measure(base: Base) -> Widths:
    """The width of every layer's keys and values, found once for each model by running one token."""
    if base.model not in _known:
        layout, zero = _Measure(), torch.zeros(1, 1, dtype=torch.long, device=base.device)
        hidden_states(base.model, zero, zero, layout=layout)
        _known[base.model] = layout.widths
    return _known[base.model]


def bytes_per_position(widths: Widths) -> int:
    """What one position of one slot takes."""
    return sum(width.bytes for width in widths.values())
