"""`netc tune`: blocks of a GPU's kernels, or algorithms of the target c, measured and kept in a file."""

from __future__ import annotations

from pathlib import Path

import click

from ..grammar.source import UserError
from ..request import Request
from .options import MACHINE, NUMBERS, SCHEDULES, as_json, net_file, print_json, program, say, tell


@click.command("tune", short_help="Measure kernels' blocks, or algorithms.")
@net_file
@program("outputs", *MACHINE, "threads", *NUMBERS, *SCHEDULES, mode="auto")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="New or of an earlier call; else the user's own.",
)
@click.option("--seconds", type=click.FloatRange(1, 36000), default=300.0, show_default=True, help="Of searching.")
@click.option("--top", type=click.IntRange(0), default=15, show_default=True, help="Kernels listed; 0 for all.")
@as_json
def command(file: Path, out: Path | None, request: Request, seconds: float, top: int, json_: bool) -> None:
    """Measure what a net's kernels can be computed by on this machine, and keep what is fastest.

    On a GPU blocks near the present ones are tried for all kernels; for the target c the algorithms of convolutions.
    The results go into a schedule file, which may be committed; without -o into the user's own, which every later call
    of netc reads. With --frozen nothing is measured: it is an error if a kernel is in no file.
    """
    from ..api.tuning import frozen_or_tuned

    found = frozen_or_tuned(file, request, out, seconds=seconds, tell=tell)
    if found is None:
        if json_:
            raise UserError("--frozen measures nothing, so there is no JSON: leave out --json")
        say("every kernel has a schedule" if request.device == "cuda" else "every choice is in a file")
        return
    if json_:
        print_json(found.form, found.as_dict())
        return
    if not found.rows:
        say("no kernel of this net can be computed in several ways")
        return
    found.shown(top or None).show()
    before, now = found.totals()
    say(f"{before:.0f} us in kernels {'before' if request.device == 'cuda' else 'by rule'}, {now:.0f} us now")
