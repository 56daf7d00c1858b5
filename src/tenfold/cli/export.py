"""``tenfold export``."""

from pathlib import Path
from typing import Annotated

import typer

from tenfold import base, store
from tenfold.adapters import Bank
from tenfold.adapters.merging import merged as merging
from tenfold.cli.progress import drawing
from tenfold.config import Config
from tenfold.errors import RunError
from tenfold.store import RunFolder, atomic

Adapter = Annotated[
    Path, typer.Argument(metavar="RUN/ADAPTER", help="An adapter of a run, or an adapter's own folder.")
]
Merged = Annotated[
    Path, typer.Option(metavar="DIR", help="Where the model goes; it must not exist yet.", show_default=False)
]


def command(adapter: Adapter, merged: Merged) -> None:
    """Write the base with an adapter merged in: a standalone model that plain transformers loads."""
    if merged.exists():
        raise RunError(f"--merged {merged}: there is something already; name a new folder")
    folder, base_model = find(adapter)
    with drawing() as progress:
        bank = Bank(base.load(base_model, progress=progress))
        name = store.load(bank, folder)
        with merging(bank, name), atomic.folder(merged) as work:
            base.save(bank.base, work)
    typer.echo(f"model: {merged}")


def find(adapter: Path) -> tuple[Path, str]:
    """The folder of an adapter and the name of its base model, from the run that it is in or from its own files."""
    if store.is_adapter(adapter):
        return adapter, store.base_model(adapter)
    run = RunFolder.open(adapter.parent)
    found = run.adapters()
    if adapter.name not in found:
        raise RunError(f"{run.path} has no adapter {adapter.name!r}; there are: {', '.join(found) or 'none'}")
    config = Config.load(run.config, require_files=False)
    return found[adapter.name], str(run.base) if run.base.is_dir() else config.base_model
