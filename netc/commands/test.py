"""`netc test`: the means of losses and metrics over test data."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from ..weights import Weights
from .options import (
    MACHINE,
    NUMBERS,
    SCHEDULES,
    as_json,
    net_file,
    print_json,
    program,
    ready,
    say,
    tell,
    weights_files,
)


@click.command("test", short_help="Means of losses and metrics on test data.")
@net_file
@weights_files()
@program(*MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, "data", records=True)
@as_json
def command(file: Path, weights: Weights, request: Request, json_: bool) -> None:
    """Test a trained net on the data of its `test:` lines; each record counts once."""
    from ..api.training import test_file

    ready(request)
    tested = test_file(file, request, weights, notify=tell)
    if json_:
        print_json("test/1", tested.as_dict())
        return
    for name, (values, records) in tested.results.items():
        means = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        say(f"{name}: {means} ({records:,} records)")
    say(f"weights: {', '.join(map(str, tested.weights))}")
