"""`netc explain`: more about an error code or a layer, or why what was fused or simplified in a net, and what not."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from .options import (
    MACHINE,
    NUMBERS,
    as_json,
    choice_of_arch,
    nothing_beside,
    print_json,
    program,
    say,
    settled,
    tell,
)


@click.command("explain", short_help="More on an error code, a layer, or on fusion.")
@click.argument("what", metavar="CODE|NAME|FILE.net")
@program("outputs", *MACHINE, "threads", *NUMBERS, mode="auto")
@choice_of_arch
@click.option("--all", "all_", is_flag=True, help="Fused edges too; else only those that were not. Laws at each place.")
@click.option("--laws", is_flag=True, help="The laws of arithmetic that were applied, or refused, in place of fusion.")
@as_json
def command(what: str, request: Request, arch: str, all_: bool, laws: bool, json_: bool) -> None:
    """Explain an error code (E310), a layer, solver or data source (relu), or for a net what was fused, and what not.

    The ledger of fusion says each law or reason once, and under it for each layer, or pair of layers, the edges from op
    to op; for those that were fused, the bytes of memory traffic that this saves. --json has every edge. With --arch
    (target triton) the kernels are compiled for that GPU, and a second table says what each uses of it.

    With --laws: which laws (x * 1 = x) the passes before fusion applied in which layers, and how often; which fitted
    and were refused, and why; and where numbers may be rounded otherwise, why that is allowed.
    """
    if not what.endswith(".net") and not Path(what).exists():
        _code(what, json_)
        return
    from ..api.models import given
    from ..driver import compilation
    from ..report.explained import net_explained
    from ..report.shown import looked_at

    with given("what", what, request, notify=tell) as one:
        made = settled(compilation(one.file, looked_at(one.want)), one.want)
        found = net_explained(made, laws=laws, arch=arch, whole=all_)
    if json_:
        print_json(found.form, found.document)
        return
    for table in found.tables:
        table.show()


def _code(text: str, json_: bool) -> None:
    """What there is by a name, or an error code."""
    from ..report.explained import name_explained

    found = name_explained(text)
    what = "error code" if found.form == "explain.code/1" else "name"
    nothing_beside(f"the {what} {text.upper() if what == 'error code' else text}", "what", "json_")
    if json_:
        print_json(found.form, found.document)
    else:
        say(str(found))
