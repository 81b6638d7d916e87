"""`netc summary`: the layers of a net with shapes, parameters, operations and memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..request import Request
from .options import MACHINE, as_json, net_file, print_json, program, say


@click.command("summary", short_help="Layers, shapes, parameters, operations.")
@net_file
@program("outputs", *MACHINE, "threads", mode="test")
@as_json
def command(file: Path, request: Request, json_: bool) -> None:
    """Summarize a net: layers, shapes, parameters, operations, memory.

    With --output prob only what that value needs is counted: the net as it is deployed.
    """
    from ..driver import compilation
    from ..report.overview import summarize

    made = compilation(file, replace(request, device="cpu"))  # no GPU is needed: nothing runs
    found = summarize(made.net, made.program)
    if json_:
        print_json("summary/1", found.as_dict())
        return
    found.table().show()
    say(found.text())
