"""`netc run`: a trained net on files of arrays or on images."""

from __future__ import annotations

from pathlib import Path

import click

from ..grammar.source import UserError
from ..numbers import Numbers
from .options import (
    as_json,
    choice_of_machine,
    choice_of_numbers,
    choice_of_program,
    choice_of_schedules,
    dimensions,
    net_file,
    print_json,
    ready,
    settings_of,
)

BATCH = 64  # records at a time, unless --batch says otherwise


@click.command("run", short_help="Run a trained net on arrays or images.")
@net_file
@click.argument("inputs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="INPUT.npz|IMAGE...")
@click.option(
    "--weights", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Else those of the last run."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.npz", help="Write all outputs.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes printed for a record.")
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False), help="Names of the classes, a line each.")
@choice_of_program(mode="test")
@choice_of_machine()
@choice_of_numbers
@choice_of_schedules()
@as_json
def command(
    file: Path,
    inputs: tuple[Path, ...],
    weights: tuple[Path, ...],
    out: Path | None,
    top: int,
    labels: Path | None,
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
    numbers: Numbers,
    json_: bool,
) -> None:
    """Run a trained net.

    The inputs are one .npz with an array for each input of the net, or image files. Without --output all outputs of the
    net are computed; --out keeps them, else the best classes of each record are printed.
    """
    from ..api.inference import Runner, is_image, ranked, read_arrays, read_images, read_labels, run_rows, write_arrays

    ready(target, device)
    runner = Runner(
        file,
        mode=mode,
        net=net,
        dims=dimensions(None, dims),
        settings=settings_of(settings),
        outputs=outputs,
        target=target,
        numbers=numbers,
        device=device,
    )
    wanted = runner.net.inputs
    if not is_image(inputs[0]):
        if len(inputs) > 1:
            raise UserError("give one .npz with all records, or several images")
        feeds = read_arrays(inputs[0], wanted)
    elif len(wanted) == 1:
        ((name, type_),) = wanted.items()
        feeds = read_images(inputs, name, type_, runner.experiment)
    else:
        raise UserError(f"the net reads {', '.join(wanted)}: give them as one .npz")
    count = min(map(len, feeds.values()))
    rows = runner.rows(min(batch or BATCH, count))
    found = run_rows(runner.executable(rows, weights, threads=threads, seed=seed), feeds, rows)
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
