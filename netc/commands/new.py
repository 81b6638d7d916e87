"""`netc new`: an example that comes with netc, copied into a folder of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from ..grammar.source import UserError
from .options import as_json, print_json, say


@click.command("new", short_help="Copy an example into a folder of your own.")
@click.argument("name", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Else a folder named as it is.")
@click.option("--list", "list_", is_flag=True, help="Name the examples that come with netc.")
@as_json
def command(name: str | None, output: Path | None, list_: bool, json_: bool) -> None:
    """Copy the files of the example NAME into a new folder, to be changed and run there."""
    from ..catalogue import catalogue, copy_files, example
    from ..runtime.atomic import new_folder

    if list_ or name is None:
        rows = catalogue().values()
        if json_:
            listed = [{"name": row.name, "title": row.title, "files": list(row.files)} for row in rows]
            print_json("new.list/1", {"examples": listed})
            return
        from ..report.tables import Table

        Table("", ["example", "what it is", "files"], [[r.name, r.title, ", ".join(r.files)] for r in rows]).show()
        return
    which = example(name)
    folder = output or Path(name)
    if not folder.parent.is_dir():
        raise UserError(f"{folder.parent}: there is no such folder to make {folder.name} in")
    with new_folder(folder) as partial:
        copy_files(which, partial)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    if json_:
        print_json("new/1", {"example": name, "folder": str(folder), "files": files})
        return
    for file in files:
        say(str(folder / file))
    small = which.forms.get("small")
    if small is not None and small.commands:
        say(f"next: cd {folder} && {small.commands[0].replace('{data}', '$NETC_DATA')}")
