"""Every setting, once: YAML in, checked settings for the run and for each task out."""

from tenfold.config.adapters import adapter
from tenfold.config.model import Config
from tenfold.config.resolved import ResolvedTask
from tenfold.config.schema import schema
from tenfold.config.settings import RunSettings, TrainingSettings

__all__ = ["Config", "ResolvedTask", "RunSettings", "TrainingSettings", "adapter", "schema"]
