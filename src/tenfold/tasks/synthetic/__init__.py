"""Made rows for trying things out: ``synthetic:dates?split=train&rows=800&seed=0``. One file per kind."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tenfold import plugins
from tenfold.errors import DataError, nearest
from tenfold.tasks.synthetic._splits import SPLITS

SCHEME = "synthetic:"
OPTIONS = ("split", "rows", "seed")


def read(path: str) -> list[dict[str, Any]]:
    """The rows that a ``synthetic:`` path asks for: columns text and answer, the same every time.

    split is train (the default), validation or test; no row of one stands in another. rows is 1000
    and seed 0 where not said. Raises DataError for anything else in the path, ConfigError for an
    unknown kind, MissingExtraError where the kind's package is not installed.
    """
    parts = urlsplit(path)
    options = _options(path, parts.query)
    split = options.get("split", "train")
    if split not in SPLITS:
        raise DataError(f"{path}: split {split!r} is none of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
    kind = plugins.find("tenfold.tasks.synthetic", parts.path, exports=("rows",))
    made: list[dict[str, Any]] = kind.rows(
        split, _whole(path, options, "rows", 1000, least=1), _whole(path, options, "seed", 0, least=0)
    )
    return made


def _options(path: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True) if query else []
    except ValueError:
        raise DataError(f"{path}: {query!r} is not of the form split=train&rows=800&seed=0") from None
    for name, _ in pairs:
        if name not in OPTIONS:
            raise DataError(f"{path}: unknown {name!r}; known: {', '.join(OPTIONS)}{nearest(name, OPTIONS)}")
    if len(dict(pairs)) < len(pairs):
        raise DataError(f"{path}: says something twice")
    return dict(pairs)


def _whole(path: str, options: dict[str, str], name: str, default: int, least: int) -> int:
    given = options.get(name, str(default))
    if not (given.isdecimal() and int(given) >= least):
        raise DataError(f"{path}: {name} {given!r} is not a whole number from {least}")
    return int(given)
