"""Batch inference on files: a trained net on arrays of a `.npz`, or on images; results as arrays and ranked classes.

Both are records as the file's data hold them: scaled, mean taken off and cropped as those that the net was tested on
(`netc/preprocessing.py`), unless they are to be taken as they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler.build import load
from ..compiler.build.nets import checked_sizes
from ..compiler.spec import DataSpec
from ..compiler.types import TensorType
from ..driver import Compilation
from ..grammar.source import Source, UserError
from ..preprocessing import Preprocessing, class_names, lines_of, preprocessing
from ..request import Request
from ..weights import Weights
from .feeding import BATCH, Feed

if TYPE_CHECKING:
    from ..runtime.executable import Executable

Array = npt.NDArray[Any]

MAX_LABELS = 1 << 24  # bytes of a file of names


def run_files(
    file: Source | Path,
    want: Request,
    inputs: Sequence[Path] | Feed,
    weights: Weights,
    *,
    as_is: bool = False,
    notify: Callable[[str], None],
) -> tuple[dict[str, Array], int, list[str]]:
    """The outputs of a net, as it is deployed, for all records of a `.npz`, of images, or of arrays in memory; how many
    there were; and the names of the classes where its data have some.

    want.batch, or the dimension N: the most records at a time, unless the net fixes them. weights: without any those of
    its last run. as_is: values are as the net takes them. notify: told what of the weights did not match, and what was
    done to records.
    """
    batch, held = want.dims.get("N", want.batch or BATCH), isinstance(inputs, Feed)
    paths = () if isinstance(inputs, Feed) else inputs
    images = bool(paths) and is_image(paths[0])
    if len(paths) > 1 and not images:
        raise UserError("give one .npz with all records, or several images")
    experiment = load(file, settings=want.settings, dims=want.dims, reading=want.reading)
    # For as many records as there seem to be, so that the net is not built again for those that there are.
    guess = min(batch, batch if held else len(paths) if images else records_in(paths[0]) or batch)
    has_batch = "N" in checked_sizes(experiment.net(want.net or experiment.default_net()))
    dims = {**want.dims, "N": guess} if has_batch else want.dims
    made = Compilation(experiment, replace(want, dims=dims, batch=None, deployed=True, update=False))
    types = made.net.inputs
    # What is in memory is fed as `netc.train` feeds it: in the place of the file's data.
    before = preprocessing(experiment, made.net.name, types, as_is=as_is or held)
    if isinstance(inputs, Feed):
        given = inputs.arrays(types).items()
        feeds = {name: _rows(inputs.what, name, array, types[name], None) for name, array in given}
    elif not images:
        feeds = read_arrays(paths[0], types, before)
    elif len(types) == 1:
        ((name, type_),) = types.items()
        feeds = read_images(paths, type_, before[name])
    else:
        raise UserError(f"the net reads {', '.join(types)}: give them as one .npz")
    count = min(map(len, feeds.values()))
    made = made.sized(min(batch, count))
    rows = int(made.net.dims["N"] if has_batch else next(iter(types.values())).shape[0])
    state = made.new_state()
    for line in [*weights.or_last(made.net.name).load(state), *lines_of(before)]:
        notify(line)
    return run_rows(made.executables(state)[-1], feeds, rows), count, class_names(experiment, made.net.name)


def is_image(path: Path) -> bool:
    return path.suffix.lower() not in (".npz", ".npy")


def records_in(path: Path) -> int:
    """The records that a file of arrays seems to hold, by the array with the fewest; 0 where that cannot be told."""
    from ..runtime.data.arrays import shapes_of

    with suppress(UserError):  # which is said where the arrays are read
        return min((shape[0] for shape in shapes_of(path) if shape), default=0)
    return 0


def read_arrays(
    path: Path, inputs: Mapping[str, TensorType], before: Mapping[str, Preprocessing] | None = None
) -> dict[str, Array]:
    """The arrays of a `.npz` for each input (a `.npy` for the only one), a record a row; UserError for another form.

    before: what happens to them.
    """
    from ..runtime.data.arrays import read_npy, read_npz

    if path.suffix.lower() == ".npy":
        if len(inputs) != 1:
            raise UserError(f"{path}: one array for {len(inputs)} inputs; save {', '.join(inputs)} as .npz")
        found = {next(iter(inputs)): read_npy(path)}
    else:
        found = read_npz(path, list(inputs))
    done = before or {}
    return {name: _rows(path, name, array, inputs[name], done.get(name)) for name, array in found.items()}


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a `.npz`, whole or not at all. Not by `np.savez`, which takes some names for settings of its own."""
    from zipfile import ZipFile

    from ..runtime.atomic import replace_file

    def write(part: Path) -> None:
        with ZipFile(part, "w") as file:
            for name, array in arrays.items():
                with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    replace_file(path, write)


def _rows(path: Path | str, name: str, array: Array, type_: TensorType, before: Preprocessing | None) -> Array:
    """One record, or a record a row, as the input has them."""
    shape = tuple(map(int, type_.shape))
    if array.ndim == len(shape) - 1:
        array = array[None]
    numbers = array.dtype.kind in "fiub"
    if before is not None and not before.plain and numbers and array.ndim == len(shape) and len(array):
        try:
            array = before.apply(array)
        except UserError as error:
            raise UserError(f"{path}: `{name}`: {error}; --as-is takes values as they are") from None
    if array.shape[1:] != shape[1:] or array.ndim != len(shape) or not len(array):
        raise UserError(f"{path}: `{name}` has shape {list(array.shape)}, the input is {type_}")
    if not numbers:
        raise UserError(f"{path}: `{name}` holds {array.dtype}, not numbers")
    return np.ascontiguousarray(array, type_.numpy_dtype)


def read_images(paths: Sequence[Path], type_: TensorType, before: Preprocessing) -> dict[str, Array]:
    """Images in the size of an input, from 0 to 255 before what else happens to them."""
    from ..runtime.data import open_data

    with tempfile.TemporaryDirectory() as folder:
        spec = image_data(paths, type_, before, Path(folder) / "images.txt", batch=len(paths))
        with open_data(spec, mode="test") as stream:
            return {before.input: stream.next().columns["image"].copy()}


def image_data(
    paths: Sequence[Path], type_: TensorType, before: Preprocessing, listed: Path, *, batch: int
) -> DataSpec:
    """Images as data for an input. listed: where the list of them is written."""
    shape = tuple(map(int, type_.shape))
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise UserError(f"the input `{before.input}` is {type_}, no image of one or three channels; give a .npz")
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        if any(blank in str(path) for blank in "\r\n"):
            raise UserError(f"{path!s:.80}: the name has a line end in it")
    lines = "".join(f"{path.resolve()} 0\n" for path in paths)
    listed.write_text(lines, encoding="utf-8", errors="surrogateescape")  # as image lists are read
    height, width = before.image_size(shape)
    kept = {key: before.setting(key) for key in ("order", "resize") if before.setting(key)}
    if not before.plain:
        cut = {"crop": before.crop} if before.crop else {}
        kept |= {"scale": before.scale, "mean": before.mean, **cut}
    settings = {
        "path": str(listed),
        "height": height,
        "width": width,
        "gray": shape[1] == 1,
        "batch": batch,
        **kept,
    }
    folder = before.data.folder if before.data is not None else Path()
    return DataSpec("images", "image_list", tuple(settings.items()), folder)


def run_rows(executable: Executable, feeds: Mapping[str, Array], batch: int) -> dict[str, Array]:
    """The outputs for all rows, batch by batch; the last batch is filled up with its first row."""
    count = min(len(array) for array in feeds.values())
    parts: dict[str, list[Array]] = {}
    for start in range(0, count, batch):
        taken = min(batch, count - start)
        piece = {name: array[start : start + taken] for name, array in feeds.items()}
        if taken < batch:
            piece = {k: np.concatenate([a, np.repeat(a[:1], batch - taken, axis=0)]) for k, a in piece.items()}
        for name, array in executable.run(piece).items():
            if array.ndim and len(array) == batch:
                parts.setdefault(name, []).append(array[:taken])
            elif count > batch:
                raise UserError(f"the output `{name}` is {list(array.shape)}, not a row a record; give one batch")
            else:
                parts[name] = [array]
    return {name: np.concatenate(found) if found[0].ndim else found[0] for name, found in parts.items()}


def ranked(row: Array, top: int, labels: Sequence[str]) -> list[tuple[str, float]]:
    """The classes with the largest values, largest first."""
    order = np.argsort(-row, kind="stable")[:top]
    return [(labels[i] if i < len(labels) else str(i), float(row[i])) for i in order.tolist()]


def read_labels(path: Path | None) -> list[str]:
    """Names of classes, a line each."""
    if path is None:
        return []
    from ..runtime.data.files import check_regular

    check_regular(path)
    if (size := path.stat().st_size) > MAX_LABELS:
        raise UserError(f"{path}: {size:,} bytes are too many for names of classes")
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
