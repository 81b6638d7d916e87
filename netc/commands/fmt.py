"""`netc fmt`: `.net` files and prototxts in their canonical form, which means the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import say

if TYPE_CHECKING:
    from ..grammar.source import Source


@click.command("fmt", short_help="Put .net files in canonical form.")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE.net...")
@click.option("--check", "check_", is_flag=True, help="Write nothing; exit status 1 if a file is in another form.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change. Exit status as with --check.")
def command(files: tuple[Path, ...], check_: bool, diff: bool) -> None:
    """Put .net files, and prototxts of Caffe's, in canonical form, in place. Comments stay."""
    from ..grammar.parse import read_source

    differs = False
    for file in files:
        source = read_source(file)
        text = _formatted(source)
        if text == source.text:
            continue
        differs = True
        if diff:
            say(_diff(source.text, text, str(file)), nl=False)
        elif check_:
            say(f"{file}: not in canonical form")
        else:
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
