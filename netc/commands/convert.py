"""`netc convert`: Caffe's prototxts as `.net` files of the same meaning."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from .options import program, say, tell


@click.command("convert", short_help="Write a prototxt as a .net.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.prototxt")
@click.option("-o", "--output-file", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.net")
@click.option("--keep-names", is_flag=True, help="Also those of layers without parameters.")
@program()
def command(file: Path, target: Path | None, keep_names: bool, request: Request) -> None:
    """Write a prototxt, of a net or of a solver, as a .net, to a file or to standard output.

    The graphs of both are compared. Names of layers with parameters stay, so that weights fit.
    """
    from ..conversion import convert
    from ..runtime.atomic import write_text

    found = convert(file, request.reading, keep_names=keep_names)
    for note in found.notes:
        tell(note)
    if target is None:
        say(found.text, nl=False)
        return
    write_text(target, found.text)
    say(f"{target} ({len(found.text.splitlines()):,} lines for {len(file.read_text().splitlines()):,})")
