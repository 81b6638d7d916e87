"""What Caffe's tools do with a net: test it on its own data, keep its features, classify images and their windows."""

from __future__ import annotations

import csv
import io as text_io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..grammar.source import UserError, suggest
from ..runtime.atomic import replace_file, write_text
from ..runtime.caffe.datum import datum_bytes
from ..runtime.caffe.making import WRITERS, Backend
from ..runtime.data.files import explained, memory_limit
from ..runtime.data.transform import numbers_in
from . import io
from .classifier import Classifier
from .detector import Detector
from .net import Net
from .process import TEST, set_mode_gpu

Array = npt.NDArray[Any]
Say = Callable[[str], None]
BOX = ("ymin", "xmin", "ymax", "xmax")


def run_test(
    model: Path, weights: Sequence[Path], iterations: int, say: Say, *, level: int = 0, stages: Sequence[str] = ()
) -> dict[str, Array]:
    """The means of a net's outputs over batches of the data of its TEST phase; said as `caffe test` says them."""
    net = _net(model, weights, level, stages)
    scales = net.blob_loss_weights
    sums: dict[str, Array] = {}
    say(f"Running for {iterations} iterations.")
    for number in range(iterations):
        for name, value in net.forward().items():
            for one in np.ravel(value):
                say(f"Batch {number}, {name} = {one:g}")
            sums[name] = sums[name] + np.asarray(value, np.float64) if name in sums else np.array(value, np.float64)
    means = {name: total / iterations for name, total in sums.items()}
    say(f"Loss: {sum(scales[name] * float(mean.sum()) for name, mean in means.items()):g}")
    for name, mean in means.items():
        for one in np.ravel(mean):
            weight = scales[name]
            said = f" (* {weight:g} = {weight * one:g} loss)" if weight else ""
            say(f"{name} = {one:g}{said}")
    return means


def extract_features(
    weights: Path, model: Path, blobs: Sequence[str], databases: Sequence[Path], batches: int, backend: Backend
) -> int:
    """Write blobs of a net, over batches of the data of its TEST phase, into a database each; how many records.

    A record is a Datum of floats, its key ten digits. UserError for a blob that there is not, without a row a record,
    or too large for memory.
    """
    if len(blobs) != len(databases):
        raise UserError(f"{len(blobs)} blobs and {len(databases)} databases: as many are wanted")
    net = _net(model, [weights], 0, ())
    for name in blobs:
        if name not in net.blobs:
            raise UserError(f"{model}: there is no blob `{name}`; {suggest(name, net.blobs) or ', '.join(net.blobs)}")
    size = sum(net.blobs[name].data.nbytes for name in blobs) * batches
    if size > memory_limit():
        raise UserError(f"{', '.join(blobs)} of {batches:,} batches would take {size:,} bytes; ask for fewer at a time")
    found: dict[str, list[Array]] = {name: [] for name in blobs}
    for _ in range(batches):
        net.forward()
        for name in found:
            value = net.blobs[name].data
            if not 1 <= value.ndim <= 4:
                raise UserError(f"the blob `{name}` is {list(value.shape)}; a record has at most three axes")
            found[name].append(np.array(value, np.float32))
    count = 0
    for name, database in zip(blobs, databases, strict=True):
        count = WRITERS[backend](database, _records(found[name]))
    return count


def _records(batches: Sequence[Array]) -> Iterator[tuple[bytes, bytes]]:
    number = 0
    for batch in batches:
        for row in batch:
            yield f"{number:010d}".encode(), datum_bytes(row.reshape(row.shape + (1,) * (3 - row.ndim)), 0)
            number += 1


def _net(model: Path, weights: Sequence[Path], level: int, stages: Sequence[str]) -> Net:
    net = Net(str(model), TEST, level=level, stages=list(stages))
    for path in weights:
        net.copy_from(path)
    return net


def use_gpu(gpu: str) -> None:
    """Have nets run on the GPU, where a flag names one."""
    if gpu:
        set_mode_gpu()


def mean_of(path: Path | None) -> Array | None:
    """The mean that a `.npy` or a `.binaryproto` holds."""
    if path is None:
        return None
    array = numbers_in(path)
    return array[0] if array.ndim == 4 and len(array) == 1 else array


def classify(net: Classifier, given: Path, out: Path, suffix: str, *, oversample: bool, say: Say) -> Array:
    """What a net says of images: of a file, of all with a suffix in a folder, or of a `.npy` [N, H, W, K].

    Written as `.npy`, a row an image; the best five classes are said.
    """
    if given.suffix == ".npy":
        array = numbers_in(given)
        if array.ndim != 4:
            raise UserError(f"{given}: images are [N, H, W, K], this is {list(array.shape)}")
        names, images = [str(i) for i in range(len(array))], list(array)
    else:
        files = sorted(given.glob(f"*.{suffix}")) if given.is_dir() else [given]
        names, images = [path.name for path in files], [_image(path) for path in files]
    if not images:
        raise UserError(f"{given}: there is no image *.{suffix} in it")
    found = net.predict(images, oversample)
    found = found.reshape(len(found), -1)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, found)

    replace_file(out, write)
    for name, row in zip(names, found, strict=True):
        best = np.argsort(-row, kind="stable")[:5]
        say(f"{name}: {', '.join(f'{which} {row[which]:.4f}' for which in best)}")
    return found


def _image(path: Path) -> Array:
    with explained(path):
        return io.load_image(path)


def read_windows(path: Path) -> list[tuple[str, list[tuple[int, ...]]]]:
    """The windows of a `.csv`: filename, ymin, xmin, ymax, xmax, with a line of names; by image, in their order."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found: dict[str, list[tuple[int, ...]]] = {}
    for number, row in enumerate(rows, 2):
        try:
            top, left, bottom, right = box = tuple(round(float(row[name] or "")) for name in BOX)
            if not (0 <= top < bottom and 0 <= left < right):
                raise UserError(f"{path}:{number}: {box} is no window: 0 <= ymin < ymax and 0 <= xmin < xmax")
            found.setdefault(row["filename"], []).append(box)
        except (KeyError, ValueError, OverflowError, TypeError):
            raise UserError(f"{path}:{number}: filename,{','.join(BOX)} are wanted, numbers after the name") from None
    return list(found.items())


def detect(net: Detector, windows: Path, out: Path) -> int:
    """Write what a net says of the windows of a `.csv` as a `.csv`: the window, and a column a class; how many."""
    found = net.detect_windows(read_windows(windows))
    text = text_io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = np.ravel(found[0]["prediction"]).size if found else 0
    writer.writerow(["filename", *BOX, *(f"class{i}" for i in range(classes))])
    for one in found:
        writer.writerow([one["filename"], *one["window"], *np.ravel(one["prediction"])])
    write_text(out, text.getvalue())
    return len(found)
