"""`netc profile`: fused against unfused, by kernel and by layer."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from .options import MACHINE, NUMBERS, SCHEDULES, as_json, net_file, print_json, program, ready, say, settled, svg_file


@click.command("profile", short_help="Time fused against unfused.")
@net_file
@program("outputs", *MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, "max_memory", mode="auto")
@click.option(
    "--seconds", type=click.FloatRange(0.01, 600), default=4.0, show_default=True, help="Of running in turns."
)
@click.option("--top", type=click.IntRange(0), default=15, show_default=True, help="Kernels listed; 0 for all.")
@click.option("--memory", is_flag=True, help="What lies in memory at each launch, and whose it is.")
@svg_file("A picture of that.")
@as_json
def command(
    file: Path, request: Request, seconds: float, top: int, memory: bool, svg: Path | None, json_: bool
) -> None:
    """Compile a net fused and unfused, run both in turns, and compare: time, kernels, traffic, memory.

    Inputs are made up. A training step includes the solver's update, with a rate of 0.
    """
    from ..driver import compilation
    from ..report.profiling import profiled
    from ..report.timeline import timeline
    from ..runtime.atomic import write_text

    ready(request)
    made = settled(compilation(file, request), request)
    report = profiled(made, seconds)
    held = timeline(made.alone()) if memory or svg else None
    if svg is not None and held is not None:
        write_text(svg, held.svg())
    if json_:
        print_json("profile/1", {**report.as_dict(), "memory": held.as_dict() if held is not None else None})
        return
    report.kernel_table(top or None).show()
    report.layer_table().show()
    if memory and held is not None:
        held.table().show()
        held.owners_table().show()
    report.totals().show()
    say(report.verdict())
    if report.fit is not None:
        say(str(report.fit))
