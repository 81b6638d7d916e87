"""`netc data`: the data sets that netc knows by name, and databases of Caffe's."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from . import data_imagenet
from .options import as_json, data_folder, print_json, say
from .usage import Commands


@click.group("data", cls=Commands, short_help="List, fetch and make data sets.")
def command() -> None:
    """List and fetch data sets, make databases of Caffe's."""


command.add_command(data_imagenet.command)


@command.command("list", short_help="List data sets, and where each was found.")
@data_folder
@as_json
def list_(data: Path | None, json_: bool) -> None:
    """List the data sets that netc knows, and where each was found."""
    from ..runtime.data.fetch import list_datasets

    found = list_datasets(data)
    if json_:
        rows = [
            {"name": d.name, "what": d.what, "where": d.where or None, "bytes": d.size, "terms": d.terms} for d in found
        ]
        print_json("data.list/1", {"sets": rows})
        return
    from ..report.tables import Table, size

    cells = [
        [d.name, d.what, d.where or f"not here: netc data fetch {d.name} ({size(d.size)})", d.terms] for d in found
    ]
    Table("", ["name", "what", "where", "terms"], cells).show()


@command.command("fetch", short_help="Get a data set.")
@click.argument("name")
def fetch(name: str) -> None:
    """Get a data set into the user's cache, checked against its published SHA-256."""
    from ..runtime.data.fetch import fetch as fetch_data

    folder = fetch_data(name, notify=lambda text: say(text, err=True))
    say(str(folder))


@command.command("convert", short_help="Make a database of Caffe's from a list of images.")
@click.argument("listing", type=click.Path(path_type=Path), metavar="LIST.txt")
@click.argument("out", type=click.Path(path_type=Path), metavar="DATABASE")
@click.option("--root", type=click.Path(path_type=Path), metavar="FOLDER", help="Of the images; else that of the list.")
@click.option("--backend", type=click.Choice(["lmdb", "leveldb"]), default="lmdb", show_default=True)
@click.option("--height", type=click.IntRange(min=1), default=None, metavar="N", help="Resize, with --width.")
@click.option("--width", type=click.IntRange(min=1), default=None, metavar="N", help="Resize, with --height.")
@click.option("--gray", is_flag=True, help="One channel.")
@click.option("--encoding", type=click.Choice(["jpg", "png"]), default=None, help="Keep images as files.")
@click.option("--shuffle", is_flag=True, help="In an order drawn from --seed.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, metavar="N", help="Of --shuffle.")
@click.option("--check-size", is_flag=True, help="Refuse images of different sizes.")
def convert(
    listing: Path,
    out: Path,
    root: Path | None,
    backend: Literal["lmdb", "leveldb"],
    height: int | None,
    width: int | None,
    gray: bool,
    encoding: str | None,
    shuffle: bool,
    seed: int,
    check_size: bool,
) -> None:
    """Make a database of Caffe's from a list of images, a line `path label` each, as Caffe's convert_imageset does."""
    from ..runtime.caffe.making import Images, make_database

    how = Images(height or 0, width or 0, gray, encoding or "", shuffle, seed, check_size)
    count = make_database(listing, listing.parent if root is None else root, out, backend, how)
    say(f"{out}: {count:,} records")


@command.command("mean", short_help="Compute the mean image of a database of Caffe's.")
@click.argument("database", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.binaryproto")
def mean(database: Path, out: Path) -> None:
    """Compute the mean image of a database, as Caffe's compute_image_mean does, and print the mean of each channel."""
    from ..runtime.caffe.making import mean_of

    for channel, value in enumerate(mean_of(database, out)):
        say(f"channel {channel}: {value:.6g}")
