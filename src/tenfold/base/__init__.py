"""The frozen base model: where it comes from, what it is, and every way of running it."""

from tenfold.base.load import load, load_tokenizer, save
from tenfold.base.model import Base

__all__ = ["Base", "load", "load_tokenizer", "save"]
