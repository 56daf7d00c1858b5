"""Adapters and runs on disk: PEFT's format, cards, run folders, and writing that is whole or not at all.

What is found here is imported when it is first used, so that writing a file costs no second of importing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenfold.store.adapter import Origin, is_adapter, load, origin, save
    from tenfold.store.card import Card
    from tenfold.store.lru import AdapterCache
    from tenfold.store.run import RunFolder

__all__ = ["AdapterCache", "Card", "Origin", "RunFolder", "is_adapter", "load", "origin", "save"]
_PLACES = {"AdapterCache": "lru", "Card": "card", "RunFolder": "run"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES.get(name, 'adapter')}"), name)
