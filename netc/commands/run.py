"""`netc run`: a trained net on files of arrays or on images."""

from __future__ import annotations

from pathlib import Path

import click

from ..grammar.source import UserError
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
    shared_by,
    tell,
    weights_files,
)

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("run", short_help="Run a trained net on arrays or images.")
@net_file
@click.argument("inputs", type=click.Path(path_type=Path), nargs=-1, metavar="[INPUT.npz|IMAGE...]")
@click.option("--data", metavar="NAME|FOLDER", help="All records of a data of the file, or all images of a folder.")
@weights_files()
@click.option("-o", "--out", type=_FILE, metavar="OUT.npz|.csv|.h5", help="Write all.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes printed for a record.")
@click.option("--labels", type=_FILE, help="Names of the classes, a line each.")
@click.option("--as-is", is_flag=True, help="Values are as the net takes them: no scale, mean or crop.")
@program("outputs", *MACHINE, "threads", "seed", *NUMBERS, *SCHEDULES, mode="test", records=True)
@as_json
def command(
    file: Path,
    inputs: tuple[Path, ...],
    data: str | None,
    weights: Weights,
    out: Path | None,
    top: int,
    labels: Path | None,
    as_is: bool,
    request: Request,
    json_: bool,
) -> None:
    """Run a trained net.

    The inputs are one .npz with an array for each input of the net, or image files; with --data all records of a data
    block of the file, once each and in their order, or all images in a folder and below it. Without --output all
    outputs of the net are computed, else what is named: outputs, bound values, layers. --out keeps them, a row a
    record; else the best classes of each record are printed.

    Arrays and images are records as the file's data hold them: scale, mean and crop of the data that the net is tested
    on apply, and a line says which; with --as-is they do not.
    """
    from ..api.features import Features, check_format, extract, write_features
    from ..api.inference import ranked, read_labels, run_files

    if bool(inputs) == (data is not None):
        raise UserError("give a .npz or images to run on, or --data with a data of the file or a folder of images")
    if out is not None:
        check_format(out)
        if json_ or labels is not None:
            raise UserError(f"--out keeps all values: leave out {'--json' if json_ else '--labels'}")
    called = read_labels(labels)
    if data is not None:
        from ..runtime.distributed.group import joined

        with joined(request.device) as group:
            ready(request)
            want = shared_by(request, group)
            made = extract(file, want, data, weights, as_is=as_is, notify=tell, group=group)
        if not group.first:
            return
    else:
        ready(request)
        arrays, count, folders = run_files(file, request, inputs, weights, as_is=as_is, notify=tell)
        names = map(str, inputs if len(inputs) == count else range(count))
        made = Features(arrays, list(names), folders)
    found = made.arrays
    if out is not None:
        write_features(out, made)
        say(f"{out}: {', '.join(f'{name} {list(array.shape)}' for name, array in found.items())}")
        return
    widths = {array.shape[1] for array in found.values() if array.ndim == 2}
    if called and not any(len(called) >= size for size in widths):
        sizes = " or ".join(map(str, sorted(widths))) or "none"
        raise UserError(f"{labels}: has {len(called)} names of classes, the values {sizes}: a line for each class")
    if json_:
        outputs = {name: array.tolist() for name, array in found.items()}
        print_json("run/1", {"records": list(made.records), "outputs": outputs})
        return
    files = [f"record {name}" if name.isdigit() else name for name in made.records]
    for name, array in found.items():
        if array.ndim > 2 and array[0].size == array.shape[1]:  # as Caffe's nets have them: 1000 x 1 x 1
            array = array.reshape(array.shape[:2])
        if array.ndim != 2 or array.dtype.kind != "f":
            say(f"{name}: {array.dtype}{list(array.shape)}, from {array.min():.4g} to {array.max():.4g}")
            continue
        classes = called or (made.classes if len(made.classes) == array.shape[1] else ())
        for label, row in zip(files, array, strict=True):
            shown = [f"{which} {value:.4f}" for which, value in ranked(row, top, classes)]
            best = ", ".join(shown) if row.size > 1 else f"{row[0]:.4f}"
            say(f"{label}: {name}: {best}")
