"""Keys and values of the rows under way: slots of one preallocated tensor per layer."""

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tenfold.base.attention import attend, fold
from tenfold.base.head import hidden_states
from tenfold.base.model import Base


@dataclass(frozen=True)
class Width:
    """Of one layer's keys and values: groups Hkv, the width of a key and of a value, and their type."""

    groups: int
    key: int
    value: int
    dtype: torch.dtype


class Cache:
    """keys[layer] and values[layer] (slots, Hkv, capacity, D); zeros at first: what is masked is finite."""

    def __init__(self, widths: dict[int, Width], slots: int, capacity: int, device: torch.device) -> None:
        self.slots, self.capacity = slots, capacity
        self.keys, self.values = {}, {}
        for layer, width in widths.items():
            shape = (slots, width.groups, capacity)
            self.keys[layer] = torch.zeros(*shape, width.key, dtype=width.dtype, device=device)
            self.values[layer] = torch.zeros(*shape, width.value, dtype=width.dtype, device=device)

    def fill(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """The first L positions of some slots: slots (n,), keys and values (n, Hkv, L, D)."""
        self.keys[layer][slots, :, : keys.shape[2]] = keys
        self.values[layer][slots, :, : values.shape[2]] = values

    def move(self, slots: Tensor, length: int) -> None:
        """The first positions of slots (n,) to slots 0 .. n - 1."""
        for tensors in (self.keys, self.values):
            for tensor in tensors.values():
                tensor[: len(slots), :, :length] = tensor[slots, :, :length]


@dataclass(frozen=True)
class DecodeLayout:
    """``Layout`` of a step: one new token for each row under way.

    slots (T,): of each row, in any order. positions (T,): of its new token. seen: positions to look at.
    used: slots in use, from the first; those among them without a row are run along and left out.
    """

    cache: Cache
    slots: Tensor
    positions: Tensor
    used: int
    seen: int
    masks: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

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
        """See ``Layout.attend``; writes the new keys and values into the cache."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys[self.slots, :, self.positions] = key
        values[self.slots, :, self.positions] = value
        spread = query.new_zeros(self.used, *query.shape[1:]).index_copy_(0, self.slots, query)
        out = attend(
            spread[:, :, None],
            keys[: self.used, :, : self.seen],
            values[: self.used, :, : self.seen],
            mask=self._mask(window, query.shape[1] // key.shape[1], query.dtype),
            scale=scale,
            softcap=softcap,
        )
        return out[:, :, 0].index_select(0, self.slots)

    def _mask(self, window: int | None, share: int, dtype: torch.dtype) -> Tensor:
        """Which keys (seen) a slot's new token sees, folded for ``attend``; without a row, it is the first."""
        if window not in self.masks:
            at = self.positions.new_zeros(self.used).index_copy_(0, self.slots, self.positions)
            distance = at[:, None] - torch.arange(self.seen, device=at.device)
            seen = distance >= 0
            seen = seen & (distance < window) if window else seen
            self.masks[window] = fold(seen[:, None], share, dtype)
        return self.masks[window]


class _Measure:
    """A layout that only looks at what it is handed."""

    def __init__(self) -> None:
        self.widths: dict[int, Width] = {}

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


_known: WeakKeyDictionary[PreTrainedModel, dict[int, Width]] = WeakKeyDictionary()


def measure(base: Base) -> dict[int, Width]:
    """The width of every layer's keys and values, found once for each model by running one token."""
    if base.model not in _known:
        layout, zero = _Measure(), torch.zeros(1, 1, dtype=torch.long, device=base.device)
        hidden_states(base.model, zero, zero, layout=layout)
        _known[base.model] = layout.widths
    return _known[base.model]


def bytes_per_position(widths: dict[int, Width]) -> int:
    """What one position of one slot takes."""
    return sum(w.groups * (w.key + w.value) * w.dtype.itemsize for w in widths.values())
