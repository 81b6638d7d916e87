"""`netc data imagenet`: photos in class folders become a set that the recipes of ImageNet train from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import UserError
from .options import as_json, print_json, say, tell

if TYPE_CHECKING:
    from ..runtime.caffe.preparing import Encoding, Fit, Prepared

NAMED = 10  # photos that were left out, on the screen; all of them are in a file


@click.command("imagenet", short_help="Prepare photos for training: checked, resized, with lists and mean.")
@click.argument("source", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="SOURCE")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FOLDER", help="Where it goes.")
@click.option("--size", type=click.IntRange(1, 4096), default=256, show_default=True, help="Of both sides.")
@click.option(
    "--fit",
    type=click.Choice(["crop", "squash"]),
    default="crop",
    show_default=True,
    help="crop: the shorter side is resized, then the middle taken; squash: both sides, as Caffe's recipe does.",
)
@click.option("--encoding", type=click.Choice(["jpg", "png"]), default="jpg", show_default=True, help="png: no loss.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Names of the classes, a line each; else their folders' names.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 0.9),
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Of each class, where SOURCE has no val.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, metavar="N", help="Of --held-out.")
@click.option("--strict", is_flag=True, help="Photos that cannot be read are an error; else they are left out.")
@click.option("--lmdb", is_flag=True, help="Databases of Caffe's as well: train_lmdb and val_lmdb.")
@click.option("--workers", type=click.IntRange(1, 256), default=None, metavar="N", help="Threads; else one a core.")
@as_json
def command(
    source: Path,
    out: Path,
    size: int,
    fit: Fit,
    encoding: Encoding,
    labels: Path | None,
    held_out: float,
    seed: int,
    strict: bool,
    lmdb: bool,
    workers: int | None,
    json_: bool,
) -> None:
    """Prepare photos for training: each is opened, checked and resized; lists, labels and the mean image are written.

    SOURCE holds train/ and val/ with a folder for each class, or lists train.txt and val.txt of them (`path label` a
    line), or class folders alone, of which a share is held out. FOLDER gets the same photos in one size, train.txt,
    val.txt, labels.txt and mean.binaryproto. A call that was interrupted goes on when it is given again.
    """
    from ..machine import cores
    from ..runtime.caffe.photo_sets import find_photos
    from ..runtime.caffe.preparing import Preparing, prepare
    from ..runtime.progress import Counted

    if out.resolve() == source.resolve():
        raise UserError(f"{out}: the prepared photos go to a folder of their own; choose another name")
    photos = find_photos(source, share=held_out, seed=seed, labels=labels)
    how = Preparing(size, fit, encoding, strict, lmdb)
    try:
        with Counted("photos") as advance:
            done = prepare(photos, out, how, workers=workers or cores(), advance=advance)
    except KeyboardInterrupt:
        tell(f"stopped; what is in {out} stays, and the same command goes on")
        raise
    if json_:
        print_json("data.imagenet/1", _form(done))
    else:
        _show(done)


def _form(done: Prepared) -> dict[str, object]:
    left = [{"file": file, "reason": reason} for file, reason in done.left_out]
    return asdict(done) | {"left_out": left}


def _show(done: Prepared) -> None:
    """A summary for people."""
    from ..report.tables import Table

    for file, reason in done.left_out[:NAMED]:
        tell(f"left out: {file}: {reason}")
    if len(done.left_out) > NAMED:
        tell(f"left out: {len(done.left_out) - NAMED:,} more, in {done.folder}/left_out.txt")
    heads = ["", ">found", ">left out", ">made now", ">there before", ">in a class", "list"]
    rows = [
        [
            part.name,
            f"{part.found:,}",
            f"{part.left_out:,}",
            f"{part.made:,}",
            f"{part.kept:,}",
            f"{part.fewest:,}" if part.fewest == part.most else f"{part.fewest:,} to {part.most:,}",
            part.list,
        ]
        for part in done.parts
    ]
    Table("", heads, rows).show()
    say(f"{done.classes:,} classes of {done.size} x {done.size}, in {done.seconds:,.1f} s")
    channels = ", ".join(f"{value:.1f}" for value in done.mean)
    say(f"{done.folder}/mean.binaryproto: the mean of train; of its channels, blue first: {channels}")
