"""Feature extraction: any values of a net, by name, for all records of a data block or all images of a folder.

Records come once each and in their order, cropped in the middle and never mirrored, whatever the block says for
training; so a row of the result is a record of the data.
"""

from __future__ import annotations

import csv
import io
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.build import load
from ..compiler.build.nets import checked_sizes
from ..compiler.spec import ColumnTransform, DataSpec
from ..compiler.types import TensorType
from ..driver import Compilation
from ..grammar.source import Source, UserError, path_of, suggest
from ..preprocessing import Preprocessing, class_names, lines_of, preprocessing
from ..report.tables import Table
from ..request import Request
from ..runtime.caffe.extras import needed
from ..runtime.data import Stream, open_data
from ..runtime.data.files import memory_limit
from ..runtime.data.images import SUFFIXES
from ..runtime.distributed.alone import ALONE, Alone
from ..runtime.evaluate import feeds
from ..stored_files import check_columns
from ..weights import Weights
from .feeding import BATCH, Fed, Feed, fed_data, open_fed
from .inference import image_data, write_arrays
from .sharing import check_same
from .training import inputs_of

Array = npt.NDArray[Any]
LABEL = "label"
RECORD = "record"
FORMATS = (".npz", ".csv", ".h5")


@dataclass(frozen=True, eq=False)
class Features(Mapping[str, Array]):
    """What a net gave: arrays by output, a row a record; `label` is the data's, where it has one.

    records: the names of the images of a folder, else the numbers of the records. classes: their names, where the data
    are folders of images.
    """

    arrays: Mapping[str, Array]
    records: Sequence[str]
    classes: Sequence[str] = ()

    def save(self, path: str | Path) -> None:
        """Write them as `netc run -o` does, in the format that the name ends with; whole or not at all."""
        file = path_of("path", path)
        check_format(file)
        write_features(file, self)

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def table(self) -> Table:
        """A row for each output."""
        rows = [
            [
                name,
                str(array.dtype),
                str(list(array.shape)),
                *(f"{end(array):.5g}" for end in (np.min, np.max) if array.size),
            ]
            for name, array in self.arrays.items()
        ]
        return Table(f"{len(self.records):,} records", ["output", "type", "shape", ">least", ">largest"], rows)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {array.dtype}{list(array.shape)}" for name, array in self.arrays.items())
        return f"<Features of {len(self.records):,} records: {shown}>"

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table().html()


def extract(
    file: Source | Path,
    want: Request,
    data: str | Path | Feed,
    weights: Weights,
    *,
    as_is: bool = False,
    notify: Callable[[str], None],
    group: Alone = ALONE,
) -> Features:
    """The outputs of a net for all records of a data block of its file, of all images in a folder and below it, or of
    data in memory.

    want.outputs: the values wanted, by the names of outputs, of bound values or of layers; without any what the net
    calls outputs. weights: without any those of its last run. as_is: the values of images are as the net takes them.
    group: processes that take the batches in turn; the first has all rows then, the others their own. UserError where
    an output is not a row a record, or all rows would not fit into memory.
    """
    experiment = load(file, settings=want.settings, dims=want.dims, reading=want.reading)
    block = None if isinstance(data, Feed) else experiment.data.get(str(data))
    if block is None and not isinstance(data, Feed) and not Path(data).is_dir():
        near = suggest(str(data), experiment.data) or f"the data are {', '.join(experiment.data) or 'none'}"
        raise UserError(f"{experiment.source.path}: there is no data and no folder `{data}`; {near}")
    if block is not None and as_is:
        raise UserError(f"--as-is is for arrays and images; what happens to `{data}` is said in the file")
    has_batch = "N" in checked_sizes(experiment.net(want.net or experiment.default_net()))

    def compiled(records: int) -> Compilation:
        dims = {**want.dims, "N": records} if has_batch else want.dims
        return Compilation(experiment, replace(want, dims=dims, batch=None, deployed=True, update=False))

    said = int(block.get("batch")) if block is not None else BATCH
    batch = want.dims.get("N", want.batch or 0)
    batch = batch or (data.batch(0, lambda: inputs_of(compiled(1))) if isinstance(data, Feed) else said)
    made = compiled(batch)
    inputs = inputs_of(made)
    names: Sequence[str] = ()
    before: Mapping[str, Preprocessing] = {}
    with ExitStack() as stack:
        opened: Fed
        if isinstance(data, Feed):
            opened = open_fed(fed_data(data.what, data, batch, shuffle=False), inputs, seed=0, mode="test")
        else:
            if block is not None:
                spec = in_order(block)
            else:
                listed = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "images.txt"
                before = preprocessing(experiment, made.net.name, inputs, as_is=as_is)
                spec, names = _folder(Path(data), inputs, before, listed)
            rows = int(next(iter(inputs.values())).shape[0]) if inputs else batch
            opened = _opened(made, spec, inputs, rows)
        check_same(group, experiment.source.text, want)
        arrays = _run(made, stack.enter_context(opened), inputs, weights, notify, group)
        for line in lines_of(before):
            notify(line)
    count = len(next(iter(arrays.values()), ()))
    return Features(arrays, names or [str(i) for i in range(count)], class_names(experiment, made.net.name))


def in_order(block: DataSpec) -> DataSpec:
    """A data block whose records come once each, in the order in which they lie."""
    plain = {"shuffle": False, "batches": 0, "mirror": False}
    settings: dict[str, Any] = {key: plain.get(key, value) for key, value in block.settings}
    if "transforms" in settings:
        still = {one.name: {**dict(one.settings), "mirror": False} for one in settings["transforms"]}
        settings["transforms"] = tuple(ColumnTransform(name, tuple(kept.items())) for name, kept in still.items())
    return replace(block, settings=tuple(settings.items()))


def _folder(
    folder: Path, inputs: Mapping[str, TensorType], before: Mapping[str, Preprocessing], listed: Path
) -> tuple[DataSpec, list[str]]:
    """The images of a folder as data, and their names in it; listed: where their list may be written."""
    if len(inputs) != 1:
        raise UserError(f"the net reads {', '.join(inputs) or 'nothing'}: images are for a net with one input")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise UserError(f"{folder}: there is no image in it ({', '.join(sorted(SUFFIXES))})")
    ((name, type_),) = inputs.items()
    spec = image_data(found, type_, before[name], listed, batch=int(type_.shape[0]))
    # The column of the list's labels, which are made up, is not called as any input is.
    columns = (("columns", (name, f".{LABEL}")),)
    return replace(spec, settings=(*spec.settings, *columns)), [path.relative_to(folder).as_posix() for path in found]


def _opened(made: Compilation, spec: DataSpec, inputs: Mapping[str, TensorType], rows: int) -> Stream:
    """The data, with their labels; UserError where a column does not fit its input."""
    stream = open_data(spec, mode="test", data_dir=made.request.data, only={*inputs, LABEL}, batch=rows)
    try:
        check_columns(stream, inputs, (spec,))
    except UserError:
        stream.close()
        raise
    return stream


def _run(
    made: Compilation,
    stream: Fed,
    inputs: Mapping[str, TensorType],
    weights: Weights,
    notify: Callable[[str], None],
    group: Alone,
) -> dict[str, Array]:
    """The outputs for all records, and the labels where the data have some that the net does not read."""
    state = made.new_state()
    for line in weights.or_last(made.net.name).load(state):
        notify(line)
    executable = made.executables(state)[-1]
    found: dict[str, _Rows] = {}
    for batch in stream.one_pass(group.rank, group.ranks) if isinstance(stream, Stream) else stream.one_pass():
        outputs = dict(executable.run(feeds(executable, batch.columns)))
        if LABEL in batch.columns and LABEL not in inputs:
            outputs.setdefault(LABEL, batch.columns[LABEL])
        if not found:
            records = stream.records if isinstance(stream, Stream) and group.first else 0
            found = _room(outputs, stream.batch, records)
        for name, array in outputs.items():
            found[name].add(array[: batch.valid])
    arrays = {name: rows.all() for name, rows in found.items()}
    return group.in_turns(arrays, stream.batch)


class _Rows:
    """Rows that come batch by batch; records: how many there will be, 0 where that is not known."""

    def __init__(self, array: Array, records: int) -> None:
        self._rows = np.empty((records or len(array), *array.shape[1:]), array.dtype)
        self._count = 0

    def add(self, array: Array) -> None:
        end = self._count + len(array)
        if end > len(self._rows):
            whole = np.empty((2 * end, *self._rows.shape[1:]), self._rows.dtype)
            if whole.nbytes > memory_limit():
                raise UserError(f"{end:,} records take too much memory; name fewer outputs")
            whole[: self._count] = self._rows[: self._count]
            self._rows = whole
        self._rows[self._count : end] = array
        self._count = end

    def all(self) -> Array:
        return self._rows[: self._count]


def _room(outputs: Mapping[str, Array], rows: int, records: int) -> dict[str, _Rows]:
    """Memory for all rows; UserError for an output without rows, or where there is too little."""
    for name, array in outputs.items():
        if not array.ndim or len(array) != rows:
            shape = list(array.shape)
            raise UserError(f"the output `{name}` is {shape}, not a row a record; name others with --output")
    size = sum(array.nbytes // rows * records for array in outputs.values())
    if size > memory_limit():
        raise UserError(f"{', '.join(outputs)} of {records:,} records would take {size:,} bytes; name fewer outputs")
    return {name: _Rows(array, records) for name, array in outputs.items()}


def write_features(path: Path, found: Features) -> None:
    """Write a `.npz` or `.h5` with an array for each output, or a `.csv` with a line for each record.

    Whole or not at all. Records that have names, as the images of a folder, are an array `record`.
    """
    from ..runtime.atomic import write_text
    from ..runtime.caffe.hdf5 import write_arrays_hdf5

    if path.suffix.lower() != ".csv":
        named = any(name != str(number) for number, name in enumerate(found.records))
        names = {RECORD: np.array(found.records)} if named and RECORD not in found.arrays else {}
        write = write_arrays if path.suffix.lower() == ".npz" else write_arrays_hdf5
        write(path, {**found.arrays, **names})
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([RECORD, *(name for key, array in found.arrays.items() for name in _columns(key, array))])
    flat = [array.reshape(len(array), -1) for array in found.arrays.values()]
    for i, record in enumerate(found.records):
        writer.writerow([record, *(value for array in flat for value in array[i])])
    write_text(path, text.getvalue())


def _columns(name: str, array: Array) -> list[str]:
    """The columns of an output: its name, or one with the place of each of a record's numbers."""
    if array.ndim == 1 or math.prod(array.shape[1:]) == 1:
        return [name]
    return [f"{name}.{'.'.join(map(str, place))}" for place in np.ndindex(*array.shape[1:])]


def check_format(path: Path) -> None:
    """UserError for a file that is none of them, or that needs a library which is not there."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: features are written as .npz, .csv or .h5")
    if path.suffix.lower() == ".h5":
        needed("h5py", f"{path}: HDF5")
