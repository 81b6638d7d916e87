"""`netc verify`: a target against the float64 oracle, layer by layer and kernel by kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..grammar.source import UserError
from ..request import Request
from .options import MACHINE, NUMBERS, arch_names, as_json, net_file, print_json, program, ready, say

if TYPE_CHECKING:
    from ..verification.verdict import Verdict

MISMATCH = 1


@click.command("verify", short_help="Compare a target with the float64 oracle.")
@net_file
@click.option("--mode", "modes", type=click.Choice(["train", "test", "both"]), default="both", show_default=True)
@program(*MACHINE, "threads", "seed", *NUMBERS)
@click.option(
    "--arch",
    default="",
    metavar="NAME",
    shell_complete=arch_names,
    help="In the interpreter: kernels as a GPU has them, as cuda:90; slow.",
)
@click.option("--safety", type=click.FloatRange(1, 1e6), default=4.0, show_default=True, help="Times the likely error.")
@click.option(
    "--reduce",
    "smaller",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT.net",
    help="On a fault: where the smaller net goes.",
)
@click.option("--budget", type=click.FloatRange(0, 86400), default=60.0, show_default=True, help="Seconds to reduce.")
@as_json
def command(
    file: Path,
    modes: str,
    request: Request,
    arch: str,
    safety: float,
    smaller: Path | None,
    budget: float,
    json_: bool,
) -> None:
    """Compare what a target computes with the oracle in double precision, forward and backward.

    Checked are each pass, each kernel on the operands that it really had, and the memory plan; and a program is proved
    as it is written: its values in time and space, and each access of a kernel for the triton target. The table shows
    each layer's error beside its budget, which is derived from the roundings on the way. Inputs are made up from
    --seed, N is 2. On a fault the pass and its law, or the kernel and its layers, are named, and for --budget seconds a
    smaller net is looked for that still fails: it is printed, or written to the file of --reduce. The exit status is 1
    then.
    """
    from ..verification import Wanted, verify

    if smaller is not None and not smaller.absolute().parent.is_dir():
        raise UserError(f"{smaller.parent}: there is no such folder for {smaller.name}")
    if arch:
        from ..runtime.triton.compile.architectures import limits

        if not (request.choice.way.arch and request.choice.row.archs):
            raise UserError("--arch is for Triton's interpreter: --target triton --device cpu")
        arch = limits(arch).name
    ready(request)
    line = _Line(not json_)
    wanted = Wanted(
        **{**vars(request), "arch": arch},
        modes=("train", "test") if modes == "both" else ("train",) if modes == "train" else ("test",),
        safety=safety,
        budget=budget,
    )
    try:
        verdict = verify(file, wanted, line.say)
    finally:
        line.clear()
    if verdict.reduced is not None and smaller is not None:
        from ..runtime.atomic import write_text

        write_text(smaller, verdict.reduced)
    if json_:
        print_json("verify/1", verdict.as_dict())
    else:
        verdict.show(say)
        _smaller(verdict, smaller)
    if not verdict.ok:
        sys.exit(MISMATCH)


def _smaller(verdict: Verdict, file: Path | None) -> None:
    if verdict.reduced is None:
        return
    if file is not None:
        say(f"{file}: a smaller net that still fails")
    else:
        say(f"a smaller net that still fails:\n\n{verdict.reduced}", nl=False)


class _Line:
    """One line on a terminal that says what is being done, written over and over; elsewhere nothing."""

    def __init__(self, wanted: bool) -> None:
        self._shown = wanted and sys.stderr.isatty()

    def say(self, text: str) -> None:
        if self._shown:
            click.echo(f"\r\x1b[K{text[:100]}", nl=False, err=True)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", nl=False, err=True)
