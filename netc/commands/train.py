"""`netc train`: train as the file's `train` blocks say."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from ..grammar.source import UserError
from ..request import Request
from ..weights import Weights
from .options import MACHINE, NUMBERS, SCHEDULES, net_file, program, ready, say, weights_files


@click.command("train", short_help="Train as the file says, or go on.")
@net_file
@program(*MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, "max_memory", "data", "scale_growth", "steps", records=True)
@weights_files("To begin with, rather than those of the file.")
@click.option("--solverstate", type=click.Path(path_type=Path), metavar="FILE", help="Go on where Caffe stopped.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Of the run; else runs/NET/NUMBER.")
@click.option("--resume", is_flag=True, help="Go on from the last snapshot of the last run, or of --folder.")
def command(
    file: Path, request: Request, weights: Weights, solverstate: Path | None, folder: Path | None, resume: bool
) -> None:
    """Train a net. Log, curves, snapshots and weights go to a folder of their own.

    Ctrl-C finishes the step and saves; --resume goes on from there, to the same bits as without the stop. --solverstate
    takes weights, histories and the number of steps of a run of Caffe's.
    """
    from ..api.training import Training
    from ..runtime.folder import last_run, new_run
    from ..runtime.train import Interrupted

    if resume and (weights or solverstate is not None):
        raise UserError("--resume goes on with the run's own weights: leave out --weights and --solverstate")
    ready(request)
    training = Training(file, request, weights, solverstate)
    made = None
    if folder is None:
        name = training.blocks[-1].net
        folder = last_run(name) if resume else new_run(name)
        made = None if resume else folder
    elif resume and not folder.is_dir():
        raise UserError(f"{folder}: there is no run to go on with")
    try:
        training.train(folder, resume=resume)
    except Interrupted as stop:
        say(f"netc: {stop}", err=True)
        click.get_current_context().exit(stop.exit_code)
    finally:
        if made is not None:
            with suppress(OSError):  # something is in it: the run began
                made.rmdir()
