"""What is added to a frozen base: kinds (one file each), the bank that holds them, compositions of them."""

from tenfold.adapters.bank import Bank, Installed
from tenfold.adapters.composition import BASE, Composition, Frame, Segment, compose, frame

__all__ = ["BASE", "Bank", "Composition", "Frame", "Installed", "Segment", "compose", "frame"]
