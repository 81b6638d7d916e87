"""`netc run`: a trained net on files of arrays or on images."""

from __future__ import annotations

from pathlib import Path

import click

from ..request import Request
from .options import MACHINE, NUMBERS, SCHEDULES, as_json, net_file, print_json, program, ready, weights_files


@click.command("run", short_help="Run a trained net on arrays or images.")
@net_file
@click.argument("inputs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="INPUT.npz|IMAGE...")
@weights_files
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.npz", help="Write all outputs.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes printed for a record.")
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False), help="Names of the classes, a line each.")
@program("outputs", *MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, mode="test", records=True)
@as_json
def command(
    file: Path,
    inputs: tuple[Path, ...],
    weights: tuple[Path, ...],
    out: Path | None,
    top: int,
    labels: Path | None,
    request: Request,
    json_: bool,
) -> None:
    """Run a trained net.

    The inputs are one .npz with an array for each input of the net, or image files. Without --output all outputs of the
    net are computed; --out keeps them, else the best classes of each record are printed.
    """
    from ..api.inference import ranked, read_labels, run_files, write_arrays

    ready(request)
    found, count = run_files(file, request, inputs, weights)
    if out is not None:
        write_arrays(out, found)
        click.echo(f"{out}: {', '.join(f'{name} {list(array.shape)}' for name, array in found.items())}")
        return
    names = read_labels(labels)
    if json_:
        print_json({name: array.tolist() for name, array in found.items()})
        return
    files = [str(path) for path in inputs] if len(inputs) == count else [f"record {i}" for i in range(count)]
    for name, array in found.items():
        if array.ndim != 2 or array.dtype.kind != "f":
            click.echo(f"{name}: {array.dtype}{list(array.shape)}, from {array.min():.4g} to {array.max():.4g}")
            continue
        for label, row in zip(files, array, strict=True):
            shown = [f"{which} {value:.4f}" for which, value in ranked(row, top, names)]
            best = ", ".join(shown) if row.size > 1 else f"{row[0]:.4f}"
            click.echo(f"{label}: {name}: {best}")
