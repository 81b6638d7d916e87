"""`netc profile`: fused against unfused, by kernel and by layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import UserError
from ..request import Request
from .options import (
    MACHINE,
    NUMBERS,
    SCHEDULES,
    as_json,
    net_file,
    nothing_beside,
    print_json,
    program,
    ready,
    say,
    settled,
    shared_by,
    svg_file,
)

if TYPE_CHECKING:
    from ..runtime.distributed.group import Group

# Of the flags, those that say which program is wanted.
SHARED = (*["net", "batch", "dims", "settings", "python", "shapes", "lenient", "target", "device", "threads", "seed"],)
SHARED += (*["precision", "tf32", "schedules", "frozen", "max_memory", "mode"],)


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

    Under torchrun: the training step of several processes, what the sums of gradients take, and what of that is hidden.
    """
    from ..driver import compilation
    from ..report.profiling import profiled
    from ..report.timeline import timeline
    from ..runtime.atomic import write_text
    from ..runtime.distributed.group import Group, joined

    with joined(request.device) as group:
        ready(request)
        if isinstance(group, Group):
            _ranks(file, request, group, seconds, json_)
            return
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


def _ranks(file: Path, request: Request, group: Group, seconds: float, json_: bool) -> None:
    """The step of several processes; --batch is of each of them."""
    from ..api.sharing import check_same
    from ..driver import compilation
    from ..report.ranks import profiled_ranks

    nothing_beside("processes that train together", "file", "seconds", "json_", *SHARED)
    made = compilation(file, replace(shared_by(request, group), mode="train", auto=False))
    check_same(group, made.experiment.source.text, request)
    if not made.learns:
        raise UserError(f"`{made.net.name}` learns nothing, so several processes have nothing to share")
    found = profiled_ranks(made, group, seconds)
    if not group.first:
        return
    if json_:
        print_json("profile.ranks/1", found.as_dict())
        return
    found.table().show()
    say(found.text())
