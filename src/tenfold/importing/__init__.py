"""Other people's configs as tenfold's: one file a source, found by its name."""

from pathlib import Path

from tenfold import plugins
from tenfold.config import Config, document
from tenfold.errors import ConfigError
from tenfold.importing._base import Translation

SOURCES = "tenfold.importing"
EXPORTS = ("translate",)


def sources() -> list[str]:
    """The projects whose configs are known."""
    return plugins.names(SOURCES, EXPORTS)


def translate(source: str, path: Path, target: Path | None = None) -> Translation:
    """The config of another project in tenfold's words, checked as tenfold checks its own.

    target: the file that it will be written to; paths below its folder are written from there, others whole.
    Raises ConfigError for an unknown source, a file that is no YAML, what tenfold cannot do at all (learning from
    preferences, say), and settings that it refuses.
    """
    module = plugins.find(SOURCES, source, EXPORTS)
    given = document.read(_text(path), str(path)).values
    translation = Translation(given, path.resolve().parent, target.resolve().parent if target else None)
    module.translate(translation)
    translation.finish(module.REASONS)
    Config.parse(translation.settings, translation.target or Path(), require_files=False)
    return translation


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None
