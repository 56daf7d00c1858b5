"""Adapters and runs on disk: PEFT's format, cards, run folders, and writing that is whole or not at all."""

from tenfold.store.adapter import base_model, is_adapter, load, save
from tenfold.store.card import Card
from tenfold.store.run import RunFolder

__all__ = ["Card", "RunFolder", "base_model", "is_adapter", "load", "save"]
