"""`netc check`: all the mistakes of `.net` files. Nothing is compiled, no data is opened."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from .options import as_json, print_json, program, say


@click.command("check", short_help="Report all mistakes of .net files.")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE.net...")
@program()
@as_json
def command(files: tuple[Path, ...], request: Request, json_: bool) -> None:
    """Report every mistake of .net files: syntax, names, settings, types, shapes, data and training.

    Exit status 0: no error (there may be warnings). 2: errors.
    """
    from ..api.checking import check

    problems = [
        problem
        for file in files
        for problem in check(
            file,
            net=request.net,
            dims=request.dims,
            settings=request.settings,
            shapes=request.reading.shapes,
            lenient=request.reading.lenient,
        )
    ]
    failed = any(problem.severity == "error" for problem in problems)
    if json_:
        print_json("check/1", {"problems": [problem.as_dict() for problem in problems]})
    else:
        for problem in problems:
            say(problem.text, err=problem.severity == "error")
        if not failed:
            warned = sum(problem.severity == "warning" for problem in problems)
            note = f", {warned} warning{'s' if warned > 1 else ''}" if warned else ""
            say(f"{', '.join(map(str, files))}: no errors{note}")
    if failed:
        click.get_current_context().exit(2)
