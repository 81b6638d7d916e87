"""`netc train`: train as the file's `train` blocks say."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from ..grammar.source import UserError
from ..numbers import GROWTH, Numbers
from .options import (
    choice_of_machine,
    choice_of_numbers,
    choice_of_program,
    choice_of_schedules,
    data_folder,
    dimensions,
    net_file,
    ready,
    settings_of,
)


@click.command("train", short_help="Train as the file says, or go on.")
@net_file
@choice_of_program(mode=None)
@choice_of_machine()
@choice_of_numbers
@choice_of_schedules()
@data_folder
@click.option(
    "--scale-growth",
    type=click.IntRange(min=1),
    default=GROWTH,
    show_default=True,
    metavar="N",
    help="Good steps until the scale of the loss doubles, in f16.",
)
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Instead of the block's.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Of the run; else runs/NET/NUMBER.")
@click.option("--resume", is_flag=True, help="Go on from the last snapshot of the last run, or of --folder.")
def command(
    file: Path,
    net: str | None,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    target: str,
    device: str,
    threads: int | None,
    seed: int | None,
    numbers: Numbers,
    data_dir: Path | None,
    scale_growth: int,
    steps: int | None,
    folder: Path | None,
    resume: bool,
) -> None:
    """Train a net. Log, curves, snapshots and weights go to a folder of their own.

    Ctrl-C finishes the step and saves; --resume goes on from there, to the same bits as without the stop.
    """
    from ..api.training import Options, blocks, open_experiment, train_experiment
    from ..runtime.folder import last_run, new_run
    from ..runtime.train import Interrupted

    ready(target, device)
    options = Options(
        net=net,
        steps=steps,
        seed=seed,
        batch=batch,
        dims=dimensions(None, dims),
        settings=settings_of(settings),
        threads=threads,
        data_dir=data_dir,
        target=target,
        numbers=replace(numbers, growth=scale_growth),
        device=device,
    )
    experiment = open_experiment(file, options)
    made = None
    if folder is None:
        name = blocks(experiment, options)[-1].net
        folder = last_run(name) if resume else new_run(name)
        made = None if resume else folder
    elif resume and not folder.is_dir():
        raise UserError(f"{folder}: there is no run to go on with")
    try:
        train_experiment(experiment, options, folder=folder, resume=resume)
    except Interrupted as stop:
        click.echo(f"netc: {stop}", err=True)
        click.get_current_context().exit(stop.exit_code)
    finally:
        if made is not None:
            with suppress(OSError):  # something is in it: the run began
                made.rmdir()
