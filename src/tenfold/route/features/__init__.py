"""What kinds look at: n-grams, sentence embeddings, hidden states of the base. One file each."""

from tenfold import plugins
from tenfold.route.features._base import Source

EXPORTS = ("Features",)


def find(name: str) -> type[Source]:
    """The features of a name. Raises ConfigError with the known ones."""
    found: type[Source] = plugins.find(__name__, name, EXPORTS).Features
    return found


def names() -> list[str]:
    """All of them, sorted."""
    return plugins.names(__name__, EXPORTS)
