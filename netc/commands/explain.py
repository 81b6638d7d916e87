"""`netc explain`: more about an error code, or why what was fused in a net and what was not."""

from __future__ import annotations

from pathlib import Path

import click

from ..grammar.source import UserError, suggest
from .options import as_json, choice_of_machine, choice_of_program, dimensions, print_json, settings_of


@click.command("explain", short_help="More on an error code, or on fusion.")
@click.argument("what", metavar="CODE|FILE.net")
@choice_of_program(mode="train")
@choice_of_machine
@click.option("--all", "all_", is_flag=True, help="Fused edges too; else only those that were not.")
@as_json
def command(
    what: str,
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
    all_: bool,
    json_: bool,
) -> None:
    """Explain an error code (E310), or for a net each edge that could be fused: done, or why not.

    The ledger of fusion names the two ops of an edge, their layers and the law or the reason; for an edge that was
    fused, the bytes of memory traffic that this saves. Edges that read the same are one row.
    """
    if not what.endswith(".net") and not Path(what).exists():
        _code(what, json_)
        return
    from ..driver import compilation
    from ..ledger import ledger_table

    made = compilation(
        Path(what),
        mode=mode,
        net=net,
        dims=dimensions(batch, dims),
        settings=settings_of(settings),
        outputs=outputs or None,
        update=None,
        target=target,
        threads=threads,
    )
    ledger = made.program.ledger
    if json_:
        print_json(
            [
                {
                    "producer": d.producer,
                    "consumer": d.consumer,
                    "layers": list(d.layers),
                    "fused": d.fused,
                    "reason": d.reason,
                    "bytes_saved": d.bytes_saved,
                }
                for d in ledger
            ]
        )
        return
    ledger_table(ledger, all_).show()


def _code(text: str, json_: bool) -> None:
    from ..grammar.codes import CODES

    code = text.upper()
    if code not in CODES:
        near = suggest(code, CODES)
        raise UserError(f"`{text}` is neither an error code nor a .net file{f'; {near}' if near else ''}")
    title, words = CODES[code].title, CODES[code].text
    if json_:
        print_json({"code": code, "title": title, "text": words})
    else:
        click.echo(f"{code}: {title}\n\n{words}")
