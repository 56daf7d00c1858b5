"""The seeds' names over tenfold's parts: MultiTaskModel is lora-pytorch's, MLTrainer MLT's."""

from tenfold.compat.ml_trainer import MLTrainer
from tenfold.compat.multitask import MultiTaskModel

__all__ = ["MLTrainer", "MultiTaskModel"]
