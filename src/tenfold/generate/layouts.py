"""How rows see their keys and values in the cache: a token of each, or pieces of prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tenfold.base.attention import attend, fold
from tenfold.generate.cache import Seat, Shelf

Spot = tuple[Seat, int, int]
"""A row's seat and its tokens [start, stop) that a pass runs."""


@dataclass
class Steps:
    """One new token for each row of a shelf.

    rows (n,): which of the pass's tokens those are. slots, positions (n,): of each.
    used: slots in use, from the first; those among them without a row are run along and left out.
    """

    shelf: Shelf
    rows: Tensor
    slots: Tensor
    positions: Tensor
    used: int
    seen: int
    masks: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None,
        softcap: float | None,
    ) -> Tensor:  # fmt: skip
        """See ``Layout.attend``, for the shelf's rows."""
        keys, values = self.shelf.put(layer, self.slots, self.positions, key, value)
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
            self.masks[window] = fold(_sees(at[:, None], self.seen, window), share, dtype)
        return self.masks[window]


@dataclass
class Pieces:
    """Pieces of prompts of like length, in one shelf.

    rows (T,): which of the pass's tokens those are. slots, positions (T,): of each. whole: they all begin a row.
    each (n,): the slots of the pieces. queries (n * W,): their tokens among ``rows``, 0 in the padding. places (T,):
    where each token stands among the queries. at (n, W): positions of the queries. seen: keys to look at.
    """

    shelf: Shelf
    rows: Tensor
    slots: Tensor
    positions: Tensor
    whole: bool
    each: Tensor
    queries: Tensor
    places: Tensor
    at: Tensor
    seen: int
    masks: dict[int | None, Tensor] = field(default_factory=dict, repr=False)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None,
        softcap: float | None,
    ) -> Tensor:  # fmt: skip
        """See ``Layout.attend``, for the pieces' tokens."""
        keys, values = self.shelf.put(layer, self.slots, self.positions, key, value)
        plain = self.whole and (window is None or self.seen <= window)
        found = attend(
            query[self.queries].view(*self.at.shape, *query.shape[1:]).transpose(1, 2),
            keys[self.each, :, : self.seen],
            values[self.each, :, : self.seen],
            mask=None if plain else self._mask(window, query.shape[1] // key.shape[1], query.dtype),
            scale=scale,
            softcap=softcap,
            causal=plain,
        )
        return found.transpose(1, 2).flatten(0, 1)[self.places]

    def _mask(self, window: int | None, share: int, dtype: torch.dtype) -> Tensor:
        if window not in self.masks:
            self.masks[window] = fold(_sees(self.at, self.seen, window), share, dtype)
        return self.masks[window]


def _sees(at: Tensor, keys: int, window: int | None) -> Tensor:
    """Positions of queries (n, W) -> which of so many keys each sees (n, W, keys)."""
    distance = at[..., None] - torch.arange(keys, device=at.device)
    seen = distance >= 0
    return seen & (distance < window) if window else seen


@dataclass
class CacheLayout:
    """``Layout`` of a pass over rows in shelves."""

    parts: Sequence[Steps | Pieces]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None,
        softcap: float | None,
    ) -> Tensor:  # fmt: skip
        """See ``Layout.attend``; writes the new keys and values into the cache."""
        if len(self.parts) == 1:
            return self.parts[0].attend(layer, query, key, value, scale, window, softcap)
        out = query.new_empty(*query.shape[:2], value.shape[-1])
        for part in self.parts:
            q, k, v = (x.index_select(0, part.rows) for x in (query, key, value))
            out[part.rows] = part.attend(layer, q, k, v, scale, window, softcap)
        return out


def steps(spots: Sequence[Spot], device: torch.device) -> CacheLayout:
    """The layout of a pass over one token of each row."""
    parts = []
    for numbers in _alike(spots, lambda spot: (spot[0].shelf.capacity,)):
        table = [(i, spots[i][0].slot, spots[i][1]) for i in numbers]
        rows, slots, positions = torch.tensor(table, device=device).T.contiguous()
        shelf = spots[numbers[0]][0].shelf
        parts.append(Steps(shelf, rows, slots, positions, shelf.used, max(at for _, _, at in table) + 1))
    return CacheLayout(parts)


def pieces(spots: Sequence[Spot], device: torch.device) -> CacheLayout:
    """The layout of a pass over pieces of prompts. Those whose length has as many binary digits go together."""
    firsts = [0]
    for _, start, stop in spots:
        firsts.append(firsts[-1] + stop - start)
    alike = _alike(spots, lambda spot: (spot[0].shelf.capacity, spot[1] > 0, (spot[2] - spot[1]).bit_length()))
    return CacheLayout([_bucket([spots[i] for i in part], [firsts[i] for i in part], device) for part in alike])


def _bucket(spots: Sequence[Spot], firsts: Sequence[int], device: torch.device) -> Pieces:
    """firsts: where in the pass each piece begins."""
    width, offset = max(stop - start for _, start, stop in spots), 0
    table, queries, places, at = list[tuple[int, int, int]](), list[int](), list[int](), list[list[int]]()
    for i, ((seat, start, stop), first) in enumerate(zip(spots, firsts, strict=True)):
        size = stop - start
        table += [(first + t, seat.slot, start + t) for t in range(size)]
        queries += [*range(offset, offset + size)] + [0] * (width - size)
        places += range(i * width, i * width + size)
        at.append([*range(start, stop)] + [stop - 1] * (width - size))
        offset += size
    rows, slots, positions = torch.tensor(table, device=device).T.contiguous()
    whole, seen = not any(start for _, start, _ in spots), max(stop for _, _, stop in spots)
    numbers = ([seat.slot for seat, _, _ in spots], queries, places, at)
    each, wanted, found, times = (torch.tensor(one, device=device) for one in numbers)
    return Pieces(spots[0][0].shelf, rows, slots, positions, whole, each, wanted, found, times, seen)


def _alike(spots: Sequence[Spot], key: Callable[[Spot], tuple[int, ...]]) -> list[list[int]]:
    """The numbers of the spots that have one key, for each key."""
    found: dict[tuple[int, ...], list[int]] = {}
    for i, spot in enumerate(spots):
        found.setdefault(key(spot), []).append(i)
    return list(found.values())
