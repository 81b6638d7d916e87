"""Deployment of a net as a folder that runs elsewhere: which program, which weights, and for which machines."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..compiler.codegen.target import imported, that
from ..driver import Compilation, compilation
from ..grammar.source import Source, UserError
from ..request import Request
from ..weights import NONE, Weights
from .records import NO_RECORDS, Records, records_of

if TYPE_CHECKING:
    from ..runtime.state import State

Told = Callable[[int, int, str], None]
Notify = Callable[[str], None]


@dataclass(frozen=True)
class FolderOptions:
    """What a folder is besides its program.

    archs: of GPUs, without any all that are known. told: see `compile_jobs`. embed: weights are in the text of C. cc:
    the compiler that makes a program of it.
    """

    archs: Sequence[str] = ()
    told: Told | None = None
    records: Records = NO_RECORDS
    embed: bool = False
    cc: tuple[str, ...] = ()


def export(
    file: str | Path | Source,
    want: Request,
    folder: Path,
    weights: Weights = NONE,
    *,
    archs: Sequence[str] = (),
    labels: Sequence[str] = (),
    embed: bool = False,
    cc: str = "",
    untrained: bool = False,
    told: Told | None = None,
    notify: Notify = lambda text: None,
) -> list[Path]:
    """Compile a program of a file into a folder, which the target's own module writes (`Target.folder`).

    weights: files; without any those of the net's last run. untrained: where there are none, or a step that learns
    has none, first values do; else that is a UserError. archs: without any, all that are known. labels: names of the
    classes. embed, cc: of C, see `FolderOptions`. told: see `compile_jobs`. A program that does not learn is the net
    as it is deployed.
    """
    row = want.choice.row
    if archs and not row.archs:
        raise UserError(f"--arch names GPUs: use --target {that(lambda row: row.archs)} as well")
    if want.update and not row.steps:
        raise UserError(f"--train compiles a step that learns: use --target {that(lambda row: row.steps)} as well")
    if (embed or cc) and not row.builds:
        raise UserError(f"--embed and --cc are for source: use --target {that(lambda row: row.builds)} as well")
    if not row.folder:
        those = that(lambda row: row.folder)
        raise UserError(f"a net becomes no folder by the target {row.name}: use --target {those}")
    learning = {"mode": "train"} if want.update else {"deployed": True}
    # One thread, so that a folder for numpy needs no pool, and BLAS may use its own; a GPU's has memory of its own.
    where = {"device": row.ways[0].device, "arch": next(iter(row.archs), ""), "threads": int(row.threads)}
    made = compilation(file, replace(want, **learning, **where)).alone()  # type: ignore[arg-type]
    if read := [info.layer for info in made.layout if info.filler.name == "file"]:
        raise UserError(f"the matrix of `{read[0]}` lies in a file, not in the folder: leave that loss out")
    write = imported(f"{row.folder}:export")
    state = partial(weighted, weights=weights, untrained=untrained, notify=notify)
    records = records_of(made, labels)
    found: list[Path] = write(made, state, folder, FolderOptions(archs, told, records, embed, compiler_of(cc)))
    for name, rule in records.transforms.items():
        notify(f"records of `{name}`: {rule['text']}")
    return found


def compiler_of(command: str) -> tuple[str, ...]:
    """A compiler's command as words; `zig cc` is that of the package `ziglang` where no other is there."""
    try:
        found = tuple(shlex.split(command))
    except ValueError as error:
        raise UserError(f"--cc is no command: {error}") from None
    if found and found[0] == "zig" and not shutil.which("zig") and find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", *found[1:])
    return found


def weighted(made: Compilation, *, weights: Weights, untrained: bool, notify: Notify) -> State:
    """State with the weights that were asked for; a training step begins with first values where none were.

    UserError for a net that needs weights and has none, unless it is to be untrained.
    """
    state = made.new_state()
    if made.fit is not None:
        notify(str(made.fit))
    if not weights and not made.learns and not untrained and len(state):
        try:
            weights = weights.or_last(made.net.name)
        except UserError as error:
            raise UserError(f"{error}, or --untrained for first values") from None
    if weights:
        lines = weights.load(state)
        notify(f"weights: {', '.join(map(str, weights.files)) or 'those of the model'}")
        for line in lines:
            notify(line)
    else:
        said = "a training step begins with" if made.learns else "the net is untrained: it has"
        if len(state):
            notify(f"{said} first values (--weights names others)")
    return state


def needs_triton() -> None:
    """UserError where the compiler of kernels is not installed, or too old."""
    from ..runtime.triton.compile.version import REMEDY, unusable_triton

    if told := unusable_triton():
        raise UserError(f"kernels are compiled by Triton. {told}: {REMEDY}")


@contextmanager
def kernel_progress() -> Iterator[Told | None]:
    """A bar on a terminal for kernels that are being compiled; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("kernels"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task("", total=None)

        def told(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name)

        yield told
