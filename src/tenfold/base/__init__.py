"""The frozen base model: where it comes from, what it is, and every way of running it."""

from tenfold.base.families import Family
from tenfold.base.load import load, load_coding, save, skeleton
from tenfold.base.model import Base, Coding
from tenfold.base.quantize import Quantization

__all__ = ["Base", "Coding", "Family", "Quantization", "load", "load_coding", "save", "skeleton"]
