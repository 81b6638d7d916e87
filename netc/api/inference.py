"""Running a trained net on files: arrays of a `.npz`, or images, in batches; the results as arrays and ranked classes.

Images pass through the sources and transforms of training, with the settings of the file's test data, so that a net
sees them as it saw those it learned from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler.build import load
from ..compiler.program import DataSpec
from ..compiler.types import TensorType
from ..driver import Compilation, Request
from ..grammar.source import UserError
from ..numbers import Numbers

if TYPE_CHECKING:
    from ..compiler.build import Experiment
    from ..runtime.executable import Executable

Array = npt.NDArray[Any]

MAX_LABELS = 1 << 24  # bytes of a file of names


class Runner:
    """One net of a file, to run on any number of records. outputs: the values wanted; without any the net's outputs."""

    def __init__(
        self,
        path: Path,
        *,
        mode: str,
        net: str | None,
        dims: Mapping[str, int],
        settings: Mapping[str, Any],
        outputs: Sequence[str],
        target: str = "numpy",
        numbers: Numbers | None = None,
        device: str = "cpu",
    ) -> None:
        self.experiment = load(path, settings=settings, dims=dims)
        self.dims = dims
        request = Request(
            mode="train" if mode == "train" else "test",
            net=net,
            dims=dims,
            update=False,
            target=target,
            numbers=numbers or Numbers(),
            device=device,
        )
        if not outputs:
            outputs = Compilation(self.experiment, request).net.outputs
            if not outputs:
                has = "`output`s are of test mode" if mode == "train" else "the net has no `output`"
                raise UserError(f"{path}: {has}; name a value with --output")
        self.request = replace(request, outputs=tuple(outputs))
        self.net = Compilation(self.experiment, self.request).net

    def compilation(self, rows: int | None = None, *, threads: int | None = None) -> Compilation:
        """The compilation for so many records at a time (without a number: as the dimensions say)."""
        dims = {**self.dims, "N": rows} if rows is not None and "N" in self.net.dims else self.dims
        return Compilation(self.experiment, replace(self.request, dims=dims, threads=threads or 0))

    def rows(self, wanted: int) -> int:
        """The records of a call: so many as wanted, unless the net fixes them."""
        return wanted if "N" in self.net.dims else int(next(iter(self.net.inputs.values())).shape[0])

    def executable(
        self, rows: int, weights: Sequence[Path], *, threads: int | None, seed: int | None = None
    ) -> Executable:
        """The net compiled for so many records at a time, with its weights (without any those of its last run)."""
        from .training import last_weights

        made = self.compilation(rows, threads=threads)
        state = made.new_state(seed)
        state.load(list(weights) or [last_weights(made.net.name)])
        return made.executables(state)[-1]


def is_image(path: Path) -> bool:
    return path.suffix.lower() not in (".npz", ".npy")


def read_arrays(path: Path, inputs: Mapping[str, TensorType]) -> dict[str, Array]:
    """The arrays of a `.npz` for each input (a `.npy` for the only one), a record a row; UserError for another form."""
    from ..runtime.data.arrays import read_npy, read_npz

    if path.suffix.lower() == ".npy":
        if len(inputs) != 1:
            raise UserError(f"{path}: one array for {len(inputs)} inputs; save {', '.join(inputs)} as .npz")
        found = {next(iter(inputs)): read_npy(path)}
    else:
        found = read_npz(path, list(inputs))
    return {name: _rows(path, name, array, inputs[name]) for name, array in found.items()}


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


def _rows(path: Path, name: str, array: Array, type_: TensorType) -> Array:
    """One record, or a record a row, as the input has them."""
    shape = tuple(map(int, type_.shape))
    if array.shape == shape[1:]:
        array = array[None]
    if array.shape[1:] != shape[1:] or array.ndim != len(shape) or not len(array):
        raise UserError(f"{path}: `{name}` has shape {list(array.shape)}, the input is {type_}")
    if array.dtype.kind not in "fiub":
        raise UserError(f"{path}: `{name}` holds {array.dtype}, not numbers")
    return np.ascontiguousarray(array, type_.numpy_dtype)


def read_images(paths: Sequence[Path], name: str, type_: TensorType, experiment: Experiment) -> dict[str, Array]:
    """Images in the size of an input, scaled as the file's test data (without any: from 0 to 255)."""
    from ..runtime.data import open_data

    shape = tuple(map(int, type_.shape))
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise UserError(f"the input `{name}` is {type_}, no image of one or three channels; give a .npz")
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: there is no such file")
        if any(blank in str(path) for blank in "\r\n"):
            raise UserError(f"{path!s:.80}: the name has a line end in it")
    like = test_data(experiment)
    kept = {key: like.get(key) for key in ("scale", "mean", "crop", "order", "resize") if like and like.get(key)}
    size = (like.get("height") or 0, like.get("width") or 0) if like else (0, 0)
    height, width = size if kept.get("crop") and all(size) else shape[2:]
    if not all(size):
        kept.pop("crop", None)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "images.txt"
        lines = "".join(f"{path.resolve()} 0\n" for path in paths)
        listed.write_text(lines, encoding="utf-8", errors="surrogateescape")  # as image lists are read
        settings = {
            "path": str(listed),
            "height": int(height),
            "width": int(width),
            "gray": shape[1] == 1,
            "batch": len(paths),
            **kept,
        }
        base = like.folder if like else Path()
        with open_data(DataSpec("images", "image_list", tuple(settings.items()), base), mode="test") as stream:
            return {name: stream.next().columns["image"].copy()}


def test_data(experiment: Experiment) -> DataSpec | None:
    """The data that the last `train` block tests on, or learns from."""
    if not experiment.trains:
        return None
    spec = experiment.trains[-1]
    return spec.tests[-1].data if spec.tests else spec.data[0]


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
