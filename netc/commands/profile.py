"""`netc profile`: fused against unfused, by kernel and by layer."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from .options import MACHINE, NUMBERS, SCHEDULES, as_json, net_file, print_json, program, ready


@click.command("profile", short_help="Time fused against unfused.")
@net_file
@program("outputs", *MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, "max_memory", mode="train")
@click.option(
    "--seconds", type=click.FloatRange(0.01, 600), default=4.0, show_default=True, help="Of running in turns."
)
@click.option("--top", type=click.IntRange(0), default=15, show_default=True, help="Kernels listed; 0 for all.")
@as_json
def command(file: Path, request: Request, seconds: float, top: int, json_: bool) -> None:
    """Compile a net fused and unfused, run both in turns, and compare: time, kernels, traffic, memory.

    Inputs are made up. A training step includes the solver's update, with a rate of 0.
    """
    from ..driver import compilation
    from ..report.profiling import profiled

    ready(request)
    report = profiled(compilation(file, request), seconds)
    if json_:
        print_json(report.as_dict())
        return
    report.kernel_table(top or None).show()
    report.layer_table().show()
    report.totals().show()
    click.echo(report.verdict())
    if report.fit is not None:
        click.echo(report.fit)
