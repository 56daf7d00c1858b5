"""``tenfold report``."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from tenfold import report

Place = Annotated[
    Path, typer.Argument(metavar="RUN_OR_SWEEP", help="The folder of a run or of a sweep.", show_default=False)
]
Open = Annotated[bool, typer.Option("--open", help="Show the page in the browser.")]


def command(folder: Place, open_: Open = False) -> None:
    """Write one self-contained page about a run or a sweep, and its plots as SVG and PNG."""
    page = report.write(folder)
    typer.echo(f"report: {page}")
    if open_ and not webbrowser.open(page.resolve().as_uri()):
        typer.echo("there is no browser to open it with", err=True)
