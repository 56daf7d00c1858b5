"""Tasks: rows from a source, prompts and responses made from their columns, tokens.

``load`` and ``encode`` are found here; they are imported when they are first used, so that the
settings alone (for ``tenfold schema``) cost no second of importing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenfold.tasks.checks import inspect
    from tenfold.tasks.task import Task, load
    from tenfold.tasks.tokens import Encoded, encode, encode_all, prompt_tokens

__all__ = ["Encoded", "Task", "encode", "encode_all", "inspect", "load", "prompt_tokens"]
_PLACES = {"Task": "task", "load": "task", "inspect": "checks"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES.get(name, 'tokens')}"), name)
