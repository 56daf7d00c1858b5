"""Calls into transformers that read files: no bars, no reports, errors in one line."""

import logging as python_logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError
from transformers.utils import logging

from tenfold.errors import ModelError

# transformers imports bitsandbytes where it is, which warns of a kernel that it would fetch from the hub for some CPUs.
python_logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(python_logging.ERROR)

# What transformers, safetensors and gguf raise for files that are missing, torn or of no known kind.
_FAULTS = (
    AttributeError, ImportError, KeyError, IndexError, OSError, RuntimeError, SafetensorError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """transformers draws no bars and says nothing."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Silence transformers; an error within becomes ``ModelError("cannot read {what}: reason")``."""
    try:
        with quiet():
            yield
    except ModelError:
        raise
    except _FAULTS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"cannot read {what}: {lines[0]}") from error
