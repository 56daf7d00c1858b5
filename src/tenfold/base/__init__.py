"""The frozen base model: where it comes from, what it is, and every way of running it."""

from tenfold.base.load import load
from tenfold.base.model import Base

__all__ = ["Base", "load"]
