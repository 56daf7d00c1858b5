"""Kinds of routers by name. A kind is a file in this folder; ``nearest:embedding`` gives one its argument."""

from tenfold import plugins
from tenfold.errors import ConfigError
from tenfold.route.kinds._base import Kind

EXPORTS = ("Scorer",)


def names() -> list[str]:
    """Every kind there is, sorted."""
    return plugins.names(__name__, EXPORTS)


def find(spec: str) -> tuple[Kind, str | None]:
    """The kind behind ``KIND`` or ``KIND:ARGUMENT``, and its argument. Raises ConfigError with the known kinds."""
    name, colon, argument = spec.partition(":")
    try:
        return plugins.find(__name__, name, EXPORTS).Scorer, argument if colon else None
    except ConfigError as error:
        raise ConfigError(f"router: {str(error).replace('unknown kind', 'unknown kind of router')}") from None
