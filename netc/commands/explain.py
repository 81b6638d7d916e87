"""`netc explain`: more about an error code or a layer, or why what was fused or simplified in a net, and what not."""

from __future__ import annotations

<<<<<<< HEAD
from dataclasses import asdict
=======
>>>>>>> 911e16b (Training from Python: data of the caller's own, callbacks, rates, nets as text; run, show, explain and verify are functions; netc.verify was a package and is netc.verification)
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
)

<<<<<<< HEAD
if TYPE_CHECKING:
    from ..driver import Compilation

=======
>>>>>>> 911e16b (Training from Python: data of the caller's own, callbacks, rates, nets as text; run, show, explain and verify are functions; netc.verify was a package and is netc.verification)

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
    from ..driver import compilation
    from ..report.explained import net_explained
    from ..report.shown import looked_at

    made = settled(compilation(what, looked_at(request)), request)
<<<<<<< HEAD
    if laws:
        if arch:
            raise UserError("--arch means nothing for --laws: the same laws are applied for every GPU")
        from ..report.laws import law_json, law_rows, law_tables

        rows = law_rows(made)
        if json_:
            print_json("explain.laws/1", {"net": made.net.name, "laws": law_json(rows)})
        else:
            for table in law_tables(rows, all_):
                table.show()
    elif arch:
        from ..report.kernels import compiled_for, kernel_rows, kernel_table

        program, binaries = compiled_for(made, arch)
        if json_:
            print_json("explain.fusion/1", _fusion(made, kernel_rows(program, binaries)))
        else:
            ledger_table(program.ledger, all_).show()
            kernel_table(program, binaries, arch).show()
    elif json_:
        print_json("explain.fusion/1", _fusion(made, None))
    else:
        ledger_table(made.program.ledger, all_).show()


def _fusion(made: Compilation, kernels: list[dict[str, Any]] | None) -> dict[str, Any]:
    """kernels: what each uses of a GPU, where that was asked for."""
    edges = [
        {
            "producer": d.producer,
            "consumer": d.consumer,
            "layers": list(d.layers),
            "fused": d.fused,
            "reason": d.reason,
            "bytes_saved": d.bytes_saved,
        }
        for d in made.program.ledger
    ]
    return {"net": made.net.name, "edges": edges, "kernels": kernels}
=======
    found = net_explained(made, laws=laws, arch=arch, whole=all_)
    if json_:
        print_json(found.rows)
        return
    for table in found.tables:
        table.show()
>>>>>>> 911e16b (Training from Python: data of the caller's own, callbacks, rates, nets as text; run, show, explain and verify are functions; netc.verify was a package and is netc.verification)


def _code(text: str, json_: bool) -> None:
    """What there is by a name, or an error code."""
    from ..report.explained import name_explained

    found = name_explained(text)
    what = "error code" if isinstance(found.rows, dict) else "name"
    nothing_beside(f"the {what} {text.upper() if what == 'error code' else text}", "what", "json_")
    if json_:
<<<<<<< HEAD
        print_json("explain.code/1", {"code": code, "title": title, "text": words})
    else:
        say(f"{code}: {title}\n\n{words}")


def _named(name: str, json_: bool) -> None:
    from ..grammar.codes import CODES
    from ..report.catalogue import entries, refusals

    for refused in filter(None, refusals(name)):
        raise UserError(refused)
    found = list(entries(name))
    if not found:
        near = suggest(name.upper(), CODES)
        raise UserError(f"`{name}` is neither an error code nor a .net file{f'; {near}' if near else ''}")
    nothing_beside(f"the name {name}", "what", "json_")
    if json_:
        print_json("explain.name/1", {"entries": [asdict(entry) for entry in found]})
        return
    for entry in found:
        of = f" of the package {entry.package}" if entry.package else ""
        say(f"{entry.name}: {entry.what}{of}\n\n{entry.call}\n\n{entry.text}")
=======
        print_json(found.rows)
    else:
        say(str(found))
>>>>>>> 911e16b (Training from Python: data of the caller's own, callbacks, rates, nets as text; run, show, explain and verify are functions; netc.verify was a package and is netc.verification)
