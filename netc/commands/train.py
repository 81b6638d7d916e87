"""`netc train`: train as the file's `train` blocks say, once or for each of several settings."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import UserError
from ..request import Request
from ..weights import Weights
from .options import (
    MACHINE,
    NUMBERS,
    SCHEDULES,
    net_file,
    program,
    ready,
    say,
    shared_by,
    swept_of,
    tell,
    weights_files,
)

if TYPE_CHECKING:
    from ..api.training import Training
    from ..runtime.distributed.alone import Alone
    from ..runtime.history import History


@click.command("train", short_help="Train as the file says, or go on.")
@net_file
@program(
    *(*MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, "max_memory", "data", "scale_growth", "steps"),
    *("parts", "sharded"),
    records=True,
)
@click.option("--display", type=click.IntRange(min=0), metavar="N", help="A line every N steps, not as the block says.")
@weights_files("To begin with, rather than those of the file.")
@click.option("--solverstate", type=click.Path(path_type=Path), metavar="FILE", help="Go on where Caffe stopped.")
@click.option("--for-caffe", type=click.Path(path_type=Path), metavar="PREFIX[.h5]", help="Leave a snapshot for Caffe.")
@click.option("--sweep", multiple=True, metavar="NAME=A,B|A..B", help="A run for each value, and each combination.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Of the run; else runs/NET/NUMBER.")
@click.option("--resume", is_flag=True, help="Go on from the last snapshot of the last run, or of --folder.")
@click.option("--no-tune", is_flag=True, help="A long run with the target c times no algorithms before it begins.")
def command(
    file: Path,
    request: Request,
    display: int | None,
    weights: Weights,
    solverstate: Path | None,
    for_caffe: Path | None,
    sweep: tuple[str, ...],
    folder: Path | None,
    resume: bool,
    no_tune: bool,
) -> None:
    """Train a net. Log, curves, snapshots and weights go to a folder of their own.

    Ctrl-C finishes the step and saves; --resume goes on from there, to the same bits as without the stop. --solverstate
    takes weights, histories and the number of steps of a run of Caffe's; --for-caffe leaves PREFIX_iter_N.caffemodel
    and .solverstate at the end, with which Caffe goes on.

    With --sweep, once or more, there is a run for each combination of values, in folders below runs/NET/sweep-NUMBER,
    with a table and one picture of all; --resume goes on with those that have not ended.
    """
    from ..runtime.distributed.group import joined
    from ..runtime.interruption import Interrupted

    if resume and (weights or solverstate is not None):
        raise UserError("--resume goes on with the run's own weights: leave out --weights and --solverstate")
    if resume and folder is not None and not folder.is_dir():
        raise UserError(f"{folder}: there is no run to go on with")
    if sweep and (solverstate is not None or for_caffe is not None):
        raise UserError("--solverstate and --for-caffe are of one run: leave out --sweep")
    if for_caffe is not None and not for_caffe.parent.is_dir():
        raise UserError(f"--for-caffe {for_caffe}: there is no folder {for_caffe.parent}")
    try:
        with joined(request.device) as group:
            ready(request)
            if sweep and group.ranks > 1:
                raise UserError("a sweep is one run after the other: start it without torchrun")
            if sweep:
                _sweep(file, request, sweep, folder, resume, display, weights)
            else:
                tune = not no_tune
                _train(file, request, weights, solverstate, display, folder, resume, group, for_caffe, tune=tune)
    except Interrupted as stop:
        if group.first:
            say(f"netc: {stop}", err=True)
        click.get_current_context().exit(stop.exit_code)


def _train(
    file: Path,
    request: Request,
    weights: Weights,
    solverstate: Path | None,
    display: int | None,
    folder: Path | None,
    resume: bool,
    group: Alone,
    for_caffe: Path | None,
    *,
    tune: bool,
) -> None:
    """One run. group: the processes that train together; the first keeps the folder. tune: see `Training`."""
    from ..api.training import Training
    from ..runtime.distributed.group import restarted
    from ..runtime.folder import LOG, last_run, new_run

    training = Training(file, shared_by(request, group), weights, solverstate, display, group, tune=tune)
    if not group.first:
        training.train(None)
        return
    made = None
    name = training.blocks[-1].net
    if restarted():  # by torchrun, which calls for the same as at first
        with suppress(UserError):  # it had not begun
            folder = folder or last_run(name)
        resume = resume or (folder is not None and (any(folder.glob(LOG)) or any(folder.glob(f"*/{LOG}"))))
    if folder is None:
        folder = last_run(name) if resume else new_run(name)
        made = None if resume else folder
    try:
        history = training.train(folder, resume=resume)
        if for_caffe is not None:
            _leave(for_caffe, training, history)
    finally:
        if made is not None:
            with suppress(OSError):  # something is in it: the run began
                made.rmdir()


def _leave(prefix: Path, training: Training, history: History) -> None:
    """The end of a run as Caffe has a snapshot."""
    from ..runtime.caffe.resuming import leave

    spec, hdf5 = training.blocks[-1], prefix.suffix == ".h5"
    assert history.state is not None
    infos = training.steps[-1].net.state
    for path in leave(prefix.with_suffix("") if hdf5 else prefix, history.state, spec, infos, spec.steps, hdf5=hdf5):
        say(str(path))


def _sweep(
    file: Path,
    request: Request,
    swept: tuple[str, ...],
    folder: Path | None,
    resume: bool,
    display: int | None,
    weights: Weights,
) -> None:
    from ..api.sweeps import TABLE, sweep, table
    from ..runtime.folder import CURVES

    place, runs = sweep(
        file, request, swept_of(swept), folder, resume=resume, tell=tell, weights=weights, display=display
    )
    table(runs).show()
    say(f"{place / TABLE}, {place / CURVES}")
