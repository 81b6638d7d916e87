"""`netc tune`: blocks of kernels, measured on the GPU and kept in a file."""

from __future__ import annotations

from pathlib import Path

import click

from ..numbers import Numbers
from .options import (
    as_json,
    choice_of_machine,
    choice_of_numbers,
    choice_of_program,
    choice_of_schedules,
    dimensions,
    net_file,
    print_json,
    settings_of,
)


@click.command("tune", short_help="Measure kernels' blocks on the GPU.")
@net_file
@choice_of_program(mode="train")
@choice_of_machine(threads=False, seed=False)
@choice_of_numbers
@choice_of_schedules()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="New or of an earlier call; else the user's own.",
)
@click.option("--seconds", type=click.FloatRange(1, 36000), default=300.0, show_default=True, help="Of searching.")
@click.option("--top", type=click.IntRange(0), default=15, show_default=True, help="Kernels listed; 0 for all.")
@as_json
def command(
    file: Path,
    out: Path | None,
    net: str | None,
    mode: str,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    outputs: tuple[str, ...],
    target: str,
    device: str,
    numbers: Numbers,
    seconds: float,
    top: int,
    json_: bool,
) -> None:
    """Try blocks near the present ones for all kernels of a net, and keep what is faster on this GPU.

    The results go into a schedule file, which may be committed; without -o into the user's own, which every later call
    of netc reads. With --frozen nothing is tuned: it is an error if a kernel is in no file.
    """
    from ..api.tuning import frozen_or_tuned

    found = frozen_or_tuned(
        file,
        out,
        seconds=seconds,
        tell=lambda text: click.echo(f"netc: {text}", err=True),
        mode=mode,
        net=net,
        dims=dimensions(batch, dims),
        settings=settings_of(settings),
        outputs=outputs or None,
        update=None,
        target=target,
        device=device,
        numbers=numbers,
    )
    if found is None:
        click.echo("every kernel has a schedule")
        return
    if json_:
        print_json(found.as_dict())
        return
    found.shown(top or None).show()
    before, now = found.totals()
    click.echo(f"{before:.0f} us in kernels before, {now:.0f} us now")
