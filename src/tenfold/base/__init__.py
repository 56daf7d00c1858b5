"""The frozen base model: where it comes from, what it is, and every way of running it."""

from tenfold.base.load import load, load_tokenizer, save, skeleton
from tenfold.base.model import Base
from tenfold.base.quantize import Quantization

__all__ = ["Base", "Quantization", "load", "load_tokenizer", "save", "skeleton"]
