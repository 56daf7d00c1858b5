"""Which adapter does a text need, and how sure is that; "none of them" is an answer.

::

    router = tenfold.route.fit({"dates": ["3 May 2021", ...], "sums": ["2 + 2", ...]}, kinds=["tfidf"])
    [decision] = router.decide(["the 4th of July"])
    print(decision.adapter, decision.probability, decision.out_of_scope, decision.reason)

What is found here is imported when it is first used: a router of kind tfidf needs neither torch nor a model.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenfold.route.conversation import Conversation
    from tenfold.route.fitting import fit
    from tenfold.route.router import Decision, Router, load

__all__ = ["Conversation", "Decision", "Router", "fit", "load"]
_PLACES = {"Conversation": "conversation", "fit": "fitting"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES.get(name, 'router')}"), name)
