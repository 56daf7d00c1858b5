"""``tenfold schema``."""

import json

import typer

from tenfold.config import schema


def command() -> None:
    """Print the JSON schema of the config file, for editors that complete and check YAML."""
    typer.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
