"""`netc data`: the data sets that netc knows by name."""

from __future__ import annotations

from pathlib import Path

import click

from .options import as_json, data_folder, print_json


@click.group("data", short_help="List and fetch data sets.")
def command() -> None:
    """List and fetch data sets."""


@command.command("list", short_help="List data sets, and where each was found.")
@data_folder
@as_json
def list_(data: Path | None, json_: bool) -> None:
    """List the data sets that netc knows, and where each was found."""
    from ..runtime.data import list_datasets

    found = list_datasets(data)
    if json_:
        print_json(
            [{"name": d.name, "what": d.what, "where": d.where, "bytes": d.size, "terms": d.terms} for d in found]
        )
        return
    from ..report.tables import Table, size

    rows = [[d.name, d.what, d.where or f"not here: netc data fetch {d.name} ({size(d.size)})", d.terms] for d in found]
    Table("", ["name", "what", "where", "terms"], rows).show()


@command.command("fetch", short_help="Get a data set.")
@click.argument("name")
def fetch(name: str) -> None:
    """Get a data set into the user's cache, checked against its published SHA-256."""
    from ..runtime.data import fetch as fetch_data

    folder = fetch_data(name, notify=lambda text: click.echo(text, err=True))
    click.echo(str(folder))
