"""`netc scale`: what data parallel training would gain on so many devices, from a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from ..grammar.source import UserError, printable
from ..request import Request, bytes_of
from .options import MACHINE, NUMBERS, as_json, net_file, png_file, print_json, program, ready, say, svg_file

DEVICES = "1,2,4,8,16,32,64,128,256,512,1024"
MOST = 1_000_000
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
RATES = {"B/s": 1.0, "bit/s": 0.125}
THOUSANDS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def number(text: str, units: Mapping[str, float], flag: str, example: str) -> float:
    """A number above 0 with a unit; UserError for anything else."""
    ways = "|".join(re.escape(unit) for unit in units)
    found = re.fullmatch(rf"(\d{{1,12}}(?:\.\d{{1,9}})?)\s*({ways})", text.strip(), re.ASCII if "µs" not in text else 0)
    value = float(found[1]) * units[found[2]] if found else 0.0
    if value <= 0:
        raise UserError(f"--{flag} wants a number with its unit such as {example}, not `{printable(text, 40)}`")
    return value


def counts(text: str) -> list[int]:
    """Numbers of devices, ascending; UserError for what is none."""
    words = text.split(",")
    if not all(word.isascii() and word.strip().isdigit() and len(word) < 9 for word in words):
        raise UserError(f"--devices wants whole numbers such as 8,64,1000, not `{printable(text, 60)}`")
    found = sorted({int(word) for word in words})
    if not 1 <= found[0] <= found[-1] <= MOST:
        raise UserError(f"--devices wants numbers from 1 to {MOST:,}, not `{printable(text, 60)}`")
    return found


@click.command("scale", short_help="Predict training on many devices.")
@net_file
@program(*MACHINE, "threads", *NUMBERS)
@click.option("--devices", default=DEVICES, metavar="N,N", help="How many; default: the powers of two up to 1,024.")
@click.option("--link", required=True, metavar="RATE", help="What a device sends and receives: 50GB/s, 400Gbit/s.")
@click.option("--latency", default="5us", show_default=True, metavar="TIME", help="Of a message.")
@click.option("--overhead", metavar="TIME", help="By which a sum makes the computation beside it longer; default: 0.")
@click.option("--step", metavar="TIME", help="Of one device, as 12ms; else it is measured here.")
@click.option("--bucket", default="1M", show_default=True, metavar="SIZE", help="Gradients sent together, at most.")
@svg_file("Efficiency as a picture.")
@png_file("The same.")
@as_json
def command(
    file: Path,
    request: Request,
    devices: str,
    link: str,
    latency: str,
    overhead: str | None,
    step: str | None,
    bucket: str,
    svg: Path | None,
    png: Path | None,
    json_: bool,
) -> None:
    """Predict data parallel training: the time of a step and the efficiency for numbers of devices, by ring and tree.

    A device takes the batch of one, whatever the number. The step is timed on this machine, launch by launch, or with
    --step taken as that of another.
    """
    rates = {f"{k}{unit}": thousand * rate for k, thousand in THOUSANDS.items() for unit, rate in RATES.items()}
    bandwidth, delay = number(link, rates, "link", "50GB/s"), number(latency, SECONDS, "latency", "5us")
    seconds = number(step, SECONDS, "step", "12ms") if step is not None else None
    held = number(overhead, SECONDS, "overhead", "1ms") if overhead is not None else 0.0
    numbers, least = counts(devices), bytes_of(bucket, "bucket")

    from ..driver import compilation
    from ..report.scaling import Link, cost_of, scaled

    if seconds is None:
        ready(request)
    made = compilation(file, replace(request, mode="train", ranks=2))
    cost = cost_of(made, least, run=seconds is None)
    cost = cost if seconds is None else cost.scaled(seconds)
    batch = int(made.net.dims["N"]) if "N" in made.net.dims else None
    found = scaled(cost, made.net.name, batch, Link(bandwidth, delay, held), numbers)
    for path in (svg, png):
        if path is not None:
            found.write(path)
    if json_:
        print_json("scale/1", found.as_dict())
        return
    found.table().show()
    say(found.text())
