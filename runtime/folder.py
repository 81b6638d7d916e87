"""Where a run keeps its files: `runs/<net>/1`, `2`, ..., each with log, curves, snapshots and final weights.

A run never writes into the folder of another one: a new run takes the next number, and a process that writes holds the
folder's lock, which the system lets go when the process ends, however it ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..compiler.program import UserError

SNAPSHOTS = "snapshots"
LOG = "log.jsonl"
CURVES = "curves.png"
LOCK = ".lock"
RUNS = Path("runs")


def new_run(net: str, base: Path = RUNS) -> Path:
    """Make the folder of a new run, `base/net/N` with the next free number; a `UserError` if that is not possible."""
    parent = base / net
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max(_numbers(parent), default=0) + 1
        while True:
            try:
                (parent / str(number)).mkdir()
            except FileExistsError:
                number += 1
            else:
                return parent / str(number)
    except OSError as error:
        raise UserError(f"{parent}: a folder for the run cannot be made: {error.strerror or error}") from None


def last_run(net: str, base: Path = RUNS) -> Path:
    """The folder of the last run of a net that trained at all; a `UserError` if there is none."""
    parent = base / net
    for number in sorted(_numbers(parent), reverse=True):
        folder = parent / str(number)
        if any(folder.glob(LOG)) or any(folder.glob(f"*/{LOG}")):  # of several `train` blocks each has its own
            return folder
    raise UserError(f"{parent}: there is no run to go on with")


def last_weights(net: str) -> Path:
    """The weights that the last run of a net ended with; a `UserError` where there are none."""
    try:
        folder = last_run(net)
    except UserError:
        raise UserError(f"no run of `{net}` is in {RUNS / net}: train it here first, or use --weights") from None
    found = sorted(folder.rglob(f"{net}.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UserError(
            f"{folder}: the last run of `{net}` has not ended, so it has no weights; {_so_far(folder, net)}"
        )
    return found[-1]


def _so_far(folder: Path, net: str) -> str:
    """What to do with a run that has not ended: its newest snapshot and its best weights, as flags."""
    from .snapshot import latest

    whole = [found for below in folder.rglob(SNAPSHOTS) if (found := latest(below)[0]) is not None]
    ways = []
    if whole:
        newest = max(whole, key=lambda one: one.step)
        ways.append(f"--weights {newest.path.parent / newest.tensors} takes those after step {newest.step:,}")
    ways += [f"--weights {path} those of its best test" for path in sorted(folder.rglob(f"{net}.best.safetensors"))]
    return ", ".join([*ways, "`netc train --resume` goes on"])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder; a `UserError` if another process trains there now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: no two processes take the same number, which is what matters most
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{folder}: another process is training there") from None
    except OSError:  # a file system without locks
        return


def _numbers(parent: Path) -> list[int]:
    try:
        return [int(path.name) for path in parent.iterdir() if path.name.isdecimal() and path.name.isascii()]
    except OSError:
        return []
