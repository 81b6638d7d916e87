"""`netc profile`: fused against unfused, by kernel and by layer."""

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
    ready,
    settings_of,
)


@click.command("profile", short_help="Time fused against unfused.")
@net_file
@choice_of_program(mode="train")
@choice_of_machine()
@choice_of_numbers
@choice_of_schedules()
@click.option(
    "--seconds", type=click.FloatRange(0.01, 600), default=4.0, show_default=True, help="Of running in turns."
)
@click.option("--top", type=click.IntRange(0), default=15, show_default=True, help="Kernels listed; 0 for all.")
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
    seed: int | None,
    numbers: Numbers,
    seconds: float,
    top: int,
    json_: bool,
) -> None:
    """Compile a net fused and unfused, run both in turns, and compare: time, kernels, traffic, memory.

    Inputs are made up. A training step includes the solver's update, with a rate of 0.
    """
    from ..api.functions import profile

    ready(target, device)
    report = profile(
        file,
        mode="train" if mode == "train" else "test",
        net=net,
        dims=dimensions(batch, dims),
        settings=settings_of(settings),
        outputs=outputs or None,
        target=target,
        precision=numbers.precision,
        tf32=numbers.tf32,
        device=device,
        threads=threads,
        seed=seed,
        seconds=seconds,
    )
    if json_:
        print_json(report.as_dict())
        return
    report.kernel_table(top or None).show()
    report.layer_table().show()
    report.totals().show()
    click.echo(report.verdict())
