"""`netc devices`: what programs can run on here."""

from __future__ import annotations

import click

from .options import as_json, print_json


@click.command("devices", short_help="List what programs can run on here.")
@as_json
def command(json_: bool) -> None:
    """List the devices that this version of netc knows, and the targets that each can run on this machine."""
    from ..machine import devices

    found = devices()
    if json_:
        fields = [{"device": d.name, "what": d.what, "targets": d.targets, "missing": d.missing} for d in found]
        print_json("devices/1", {"devices": fields})
        return
    from ..report.tables import Table

    rows = []
    for d in found:
        for row, (target, how) in enumerate(({**d.targets, **d.missing} or {"none": ""}).items()):
            rows.append([d.name if not row else "", d.what if not row else "", target, how])
    Table("", ["device", "what", "target", "how"], rows).show()
