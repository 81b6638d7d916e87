"""`netc devices`: what programs can run on here."""

from __future__ import annotations

import click

from .options import as_json, print_json


@click.command("devices", short_help="List what programs can run on here.")
@as_json
def command(json_: bool) -> None:
    """List the devices of this machine, and the targets that this version of netc has for them."""
    from ..machine import devices

    found = devices()
    if json_:
        print_json([{"device": d.name, "what": d.what, "targets": list(d.targets)} for d in found])
        return
    from ..tables import Table

    Table("", ["device", "what", "targets"], [[d.name, d.what, ", ".join(d.targets)] for d in found]).show()
