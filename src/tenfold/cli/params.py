"""``tenfold params``."""

from typing import Annotated

import typer

from tenfold import base, plugins
from tenfold.adapters import sizes
from tenfold.cli.progress import drawing
from tenfold.cli.tables import make_table, paper
from tenfold.config import adapter as read_adapter

BaseName = Annotated[
    str, typer.Option("--base", metavar="MODEL", help="Hub id, folder (a config.json will do) or pypi: wheel.")
]
Kind = Annotated[str, typer.Option("--adapter", metavar="KIND", help="Kind of adapter, or several: lora+fff.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the adapter, e.g. lora_r=24.", show_default=False),
]
Match = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Another kind: find its rank or width with as many parameters."),
]
MatchSettings = Annotated[
    list[str] | None,
    typer.Option("--match-set", metavar="KEY=VALUE", help="A setting of the other kind.", show_default=False),
]


def command(
    base_name: BaseName,
    adapter: Kind = "lora",
    set_: Settings = None,
    match: Match = None,
    match_set: MatchSettings = None,
) -> None:
    """Count an adapter's parameters on a base, without loading its weights; the total stands on the last line."""
    adapters = read_adapter(adapter.split("+"), set_ or [])
    other = read_adapter([match], match_set or []) if match else {}
    with drawing() as progress:
        model = base.skeleton(base_name, progress=progress)
    found = sizes.sizes(model, adapters)
    rows = [
        (kind, layer, f"{len(each):,}", f"{each[0]:,}" if len(set(each)) == 1 else "", f"{sum(each):,}")
        for (kind, layer), each in found.items()
    ]
    paper().print(make_table(("adapter", "layer", "number", "each", "parameters"), rows, left=(0, 1)))
    wanted = sum(map(sum, found.values()))
    for kind, config in other.items():
        _show_match(kind, *sizes.matched(model, kind, config, wanted), wanted)
    typer.echo(f"total: {wanted:,} parameters ({wanted / 1e6:.2f}M)")


def _show_match(kind: str, config: object, reached: int, wanted: int) -> None:
    key = plugins.find("tenfold.adapters", kind).BUDGET
    difference = reached - wanted
    typer.echo(
        f"{kind} with {key} = {getattr(config, key)}: {reached:,} parameters, "
        f"{difference:+,} ({difference / wanted:+.2%})"
    )
