"""Keys and values of prompts that begin alike, kept for later: whole blocks, the least recently used leave first."""

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence

from tenfold.adapters.bank import Bank
from tenfold.generate.cache import Copied
from tenfold.generate.draft import Draft

BLOCK = 32  # tokens


class Prefixes:
    """Blocks by key. A key is a digest of the base, of what the adapters contain, of the tenant and of all tokens up
    to the block's end, so that another adapter under an old name, and another tenant, find nothing.

    block_bytes: of one block.
    """

    def __init__(self, block_bytes: int) -> None:
        self.block_bytes = block_bytes
        self._blocks: OrderedDict[bytes, Copied] = OrderedDict()

    @property
    def held(self) -> int:
        """Bytes of all blocks."""
        return len(self._blocks) * self.block_bytes

    def __contains__(self, key: bytes) -> bool:
        return key in self._blocks

    def find(self, keys: Sequence[bytes]) -> list[Copied]:
        """The blocks of these keys, up to the first that is not there."""
        found = []
        for key in keys:
            if key not in self._blocks:
                break
            found.append(self._blocks[key])
        for key in reversed(keys[: len(found)]):  # what comes first is used last: chains lose their ends first
            self._blocks.move_to_end(key)
        return found

    def keep(self, key: bytes, block: Copied) -> None:
        """One more."""
        self._blocks[key] = block

    def shrink(self, most: int) -> None:
        """Let blocks go until the rest takes at most so many bytes."""
        while self._blocks and self.held > most:
            self._blocks.popitem(last=False)


def root(bank: Bank, draft: Draft) -> bytes:
    """What keys begin with: everything but tokens that keys and values depend on, and whose they are."""
    parts = [(bank.get(name).generation, weight) for name, weight in draft.composition]
    return _digest(repr((bank.base.fingerprint, draft.tenant, parts)).encode())


def extend(chain: list[bytes], start: bytes, tokens: Sequence[int]) -> None:
    """Add to a chain of keys those of all whole blocks of tokens that it lacks."""
    for i in range(len(chain), len(tokens) // BLOCK):
        block = array("q", tokens[i * BLOCK : (i + 1) * BLOCK]).tobytes()
        chain.append(_digest((chain[-1] if chain else start) + block))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
