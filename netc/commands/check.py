"""`netc check`: all the mistakes of `.net` files, and of the data and weights that they name. Nothing is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import Source, SourceErrors, UserError
from ..request import Request
from ..stored_models import is_model, opened
from .files import texts
from .options import as_json, print_json, program, say, tell
from .terminal import counted, failed, told

if TYPE_CHECKING:
    from ..api.checking import Problem


@click.command("check", short_help="Report all mistakes of .net files.")
@click.argument("files", type=click.Path(path_type=Path, allow_dash=True), nargs=-1, required=True, metavar="FILE...")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--no-files", is_flag=True, help="Look for no data and weights: the text alone.")
@program("data")
@as_json
def command(files: tuple[Path, ...], strict: bool, no_files: bool, request: Request, json_: bool) -> None:
    """Report every mistake of .net files: syntax, names, settings, types, shapes, data and training.

    Data and weights that a file names are looked for as well, and their headers held against the nets. FILE may be a
    prototxt, a folder (all files of these kinds in it and below), a model of ONNX, a package of the zoo, or `-` for
    standard input.

    Exit status 0: no error (there may be warnings). 2: errors, or with --strict warnings.
    """
    found: list[Problem] = []
    unread = False
    names: list[Path | Source] = [name for file in files for name in ([file] if is_model(file) else texts([file]))]
    for name in names:
        try:
            found += _problems(name, request, not no_files)
        except UserError as error:  # the other files are checked all the same
            if len(names) == 1:
                raise
            failed(str(error))
            unread = True
    found = list(dict.fromkeys(found))  # of a file that several name
    wrong = unread or any(
        problem.severity == "error" or (strict and problem.severity == "warning") for problem in found
    )
    if json_:
        print_json("check/1", {"problems": [problem.as_dict() for problem in found]})
    else:
        for problem in found:
            told(problem.text, problem.severity, err=problem.severity == "error")
        if wrong:
            counted(found)
        else:
            warned = sum(problem.severity == "warning" for problem in found)
            note = f", {warned} warning{'s' if warned > 1 else ''}" if warned else ""
            said = ", ".join(map(str, files)) if len(names) <= len(files) else f"{len(names)} files"
            say(f"{said}: no errors{note}")
    if wrong:
        click.get_current_context().exit(2)


def _problems(name: Path | Source, request: Request, files: bool) -> list[Problem]:
    from ..api.checking import check, problems_of

    dims, net = request.dims, request.net
    if isinstance(name, Path) and is_model(name):
        try:
            model = opened(name, request, tell)
        except SourceErrors as errors:
            return problems_of(errors.errors)
        click.get_current_context().call_on_close(model.close)
        name, dims, net = model.file, model.dims, net or model.net
    return check(
        name,
        net=net,
        dims=dims,
        settings=request.settings,
        shapes=request.reading.shapes,
        lenient=request.reading.lenient,
        files=files,
        data=request.data,
    )
