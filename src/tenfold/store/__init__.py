"""Adapters and runs on disk: PEFT's format, cards, run folders, and writing that is whole or not at all."""

from tenfold.store.adapter import Origin, is_adapter, load, origin, save
from tenfold.store.card import Card
from tenfold.store.lru import AdapterCache
from tenfold.store.run import RunFolder

__all__ = ["AdapterCache", "Card", "Origin", "RunFolder", "is_adapter", "load", "origin", "save"]
