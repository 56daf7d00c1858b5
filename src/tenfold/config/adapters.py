"""The settings of one adapter by themselves, as ``--set`` gives them."""

from collections.abc import Sequence

from pydantic import BaseModel

from tenfold.config import keys, layers
from tenfold.config.document import Document
from tenfold.config.overrides import override
from tenfold.config.problems import Problem, check
from tenfold.errors import ConfigError, nearest


def adapter(kinds: Sequence[str], settings: Sequence[str]) -> dict[str, BaseModel]:
    """The settings of each kind from ``key=value`` for all of them.

    Raises ConfigError for a kind that is none or comes twice, a key that none of them has and a value that is not
    allowed.
    """
    known = keys.kind_settings()
    if twice := keys.repeated(kinds):
        raise ConfigError(f"--adapter {keys.JOIN.join(kinds)!r}: says {twice} twice; each kind at most once")
    for kind in kinds:
        if kind not in known:
            raise ConfigError(f"--adapter {kind!r}: must be {', '.join(known)}{nearest(kind, list(known))}")
    document = Document("--set", {})
    override(document, settings)
    allowed = sorted({key for kind in kinds for key in known[kind].model_fields})
    problems = [
        Problem((key,), f"is no setting of {', '.join(kinds)}{nearest(key, allowed)}; known: {', '.join(allowed)}")
        for key in document.values
        if key not in allowed
    ]
    layer = layers.top(document.values)
    built = {kind: layer.build(known[kind], known[kind].model_fields, problems) for kind in kinds}
    check(problems, document)
    return {kind: one for kind, one in built.items() if one}
