"""lora-pytorch's names over tenfold's parts: ``import tenfold.compat as lora``."""

from tenfold.compat.multitask import MultiTaskModel

__all__ = ["MultiTaskModel"]
