"""``tenfold import``."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from tenfold import importing
from tenfold.config.dump import Dumper
from tenfold.errors import ConfigError
from tenfold.store import atomic

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="axolotl or llamafactory.", show_default=False)]
Given = Annotated[Path, typer.Argument(metavar="CONFIG", help="Its YAML file.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where the config goes; else to stdout.")]


def command(source: Source, config: Given, out: Out = None) -> None:
    """Translate another project's config; what has no counterpart is said on stderr, key by key."""
    if out and out.exists():
        raise ConfigError(f"--out {out}: there is something already; name a new file")
    found = importing.translate(source, config, out)
    text = yaml.dump(found.settings, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    if out:
        atomic.write(out, text)
    else:
        typer.echo(text, nl=False)
    for note in found.notes:
        typer.echo(f"- {note}", err=True)
    if out:
        typer.echo(f"config: {out}")
