"""Adapters kept in memory: the least recently used ones leave where the bytes of all exceed a limit."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tenfold.adapters.bank import Bank
from tenfold.errors import AdapterError, nearest
from tenfold.store import adapter


class AdapterCache:
    """Loads adapters into a bank when they are asked for. Any number of threads may share one.

    folders: where the adapter of each name is. max_bytes: what the parameters of all that it holds may take, None is
    any number; adapters that others put into the bank don't count and never leave.
    hits, misses: how often an adapter was asked for that was held, or was not. evictions: how many had to leave.
    """

    def __init__(self, bank: Bank, folders: Mapping[str, Path] | None = None, max_bytes: int | None = None) -> None:
        self.bank, self.max_bytes = bank, max_bytes
        self.hits = self.misses = self.evictions = 0
        self._folders = dict(folders or {})
        self._held: OrderedDict[str, int] = OrderedDict()
        self._pins: Counter[str] = Counter()
        self._lock = threading.RLock()

    @property
    def bytes(self) -> int:
        """Of the parameters of all adapters that it holds."""
        return sum(self._held.values())

    @property
    def hit_rate(self) -> float:
        """The share of hits in all that was asked for; 0 before anything was."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    @property
    def held(self) -> list[str]:
        """The names of the adapters that it holds, the least recently used one first."""
        return list(self._held)

    def get(self, wanted: str | Path) -> str:
        """Make sure that an adapter is in the bank -> its name there.

        wanted: a name of ``folders``, or the folder of an adapter, which is held under the folder's own name.
        Raises AdapterError for a name that is not known, a folder that cannot be loaded, and an adapter that does
        not fit beside those that are pinned; the bank is then as it was.
        """
        with self._lock:
            name = self._name(wanted)
            if name in self._held and name in self.bank.adapters:
                self.hits += 1
            else:
                self.misses += 1
                adapter.load(self.bank, self._folders[name], name)
                self._held[name] = sum(p.nbytes for p in self.bank.parameters(name).values())
                self._make_room(name)
            self._held.move_to_end(name)
            return name

    @contextmanager
    def pinned(self, *wanted: str | Path) -> Iterator[list[str]]:
        """Inside the block all of these are in the bank (see ``get``) and none of them leaves -> their names."""
        names: list[str] = []
        try:
            with self._lock:
                for one in wanted:
                    names.append(self.get(one))
                    self._pins[names[-1]] += 1
            yield names
        finally:
            with self._lock:
                self._pins -= Counter(names)

    def _name(self, wanted: str | Path) -> str:
        if isinstance(wanted, str):
            if wanted not in self._folders:
                known = sorted(self._folders)
                there = ", ".join(known) or "none"
                raise AdapterError(f"no adapter {wanted!r}; there are: {there}{nearest(wanted, known)}")
            return wanted
        folder = wanted.resolve()
        known_place = self._folders.setdefault(folder.name, folder)
        if known_place.resolve() != folder:
            raise AdapterError(
                f"{wanted}: the name {folder.name!r} is that of {known_place}; give it a name of its own"
            )
        return folder.name

    def _make_room(self, new: str) -> None:
        """Let the least recently used ones go until the rest fits; the new one where that is not enough."""
        free = [name for name in self._held if name != new and not self._pins[name]]
        least = self.bytes - sum(self._held[name] for name in free)
        if self.max_bytes is not None and least > self.max_bytes:
            size = self._held.pop(new)
            self.bank.remove(new)
            beside = f" beside {least - size:,} bytes of adapters in use" if least > size else ""
            raise AdapterError(f"adapter {new!r} has {size:,} bytes{beside}; the cache may hold {self.max_bytes:,}")
        for name in free:
            if self.max_bytes is None or self.bytes <= self.max_bytes:
                return
            del self._held[name]
            self.bank.remove(name)
            self.evictions += 1
