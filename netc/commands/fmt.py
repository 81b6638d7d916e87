"""`netc fmt`: `.net` files and prototxts in their canonical form, which means the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import printable_lines
from .files import texts
from .options import say

if TYPE_CHECKING:
    from ..grammar.source import Source


@click.command("fmt", short_help="Put .net files in canonical form.")
@click.argument("files", type=click.Path(path_type=Path, allow_dash=True), nargs=-1, required=True, metavar="FILE...")
@click.option("--check", "check_", is_flag=True, help="Write nothing; exit status 1 if a file is in another form.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change. Exit status as with --check.")
def command(files: tuple[Path, ...], check_: bool, diff: bool) -> None:
    """Put .net files, and prototxts of Caffe's, in canonical form, in place. Comments stay.

    FILE may be a folder (all files of these kinds in it and below), or `-`: standard input, which goes to standard
    output.
    """
    from ..grammar.parse import read_source

    differs = False
    for file in texts(files):
        source = read_source(file) if isinstance(file, Path) else file
        text = _formatted(source)
        if not isinstance(file, Path) and not (diff or check_):
            # To a file every character as it is; a terminal is not to be driven by them.
            click.echo(printable_lines(text) if sys.stdout.isatty() else text, nl=False)
            continue
        if text == source.text:
            continue
        differs = True
        if diff:
            say(_diff(source.text, text, source.path), nl=False)
        elif check_:
            say(f"{source.path}: not in canonical form")
        elif isinstance(file, Path):
            _replace(file, text)
            say(f"{file}: formatted")
    if differs and (check_ or diff):
        click.get_current_context().exit(1)


def _formatted(source: Source) -> str:
    from ..compiler.caffe.reading import is_prototxt, type_of

    if not is_prototxt(source):
        from ..grammar.format import format_file

        return format_file(source)
    from ..grammar.caffe.format import format_prototxt
    from ..grammar.caffe.text_format import read

    read(source, type_of(source), lenient=True)
    return format_prototxt(source)


def _diff(before: str, after: str, name: str) -> str:
    import difflib

    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (formatted)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _replace(file: Path, text: str) -> None:
    """Write whole or not at all; the file's mode stays."""
    from ..runtime.atomic import write_text

    mode = file.stat().st_mode
    write_text(file, text)
    file.chmod(mode & 0o7777)
