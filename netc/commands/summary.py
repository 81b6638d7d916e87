"""`netc summary`: the layers of a net with shapes, parameters, operations and memory."""

from __future__ import annotations

from pathlib import Path

import click

from .options import as_json, choice_of_machine, choice_of_program, dimensions, net_file, print_json, settings_of


@click.command("summary", short_help="Layers, shapes, parameters, operations.")
@net_file
@choice_of_program(mode="test")
@choice_of_machine(seed=False)
@as_json
def command(
    file: Path,
    net: str | None,
    mode: str,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    outputs: tuple[str, ...],
    target: str,
    device: str,
    threads: int | None,
    json_: bool,
) -> None:
    """Summarize a net: layers, shapes, parameters, operations, memory.

    With --output prob only what that value needs is counted: the net as it is deployed.
    """
    from ..driver import compilation
    from ..report.overview import summarize

    made = compilation(
        file,
        mode=mode,
        net=net,
        dims=dimensions(batch, dims),
        settings=settings_of(settings),
        outputs=outputs or None,
        update=None,
        target=target,
        threads=threads,
    )
    found = summarize(made.net, made.program)
    if json_:
        print_json(found.as_dict())
        return
    found.table().show()
    click.echo(found.text())
