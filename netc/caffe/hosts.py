"""Layers that are not compiled: those that bring data, those in Python, and Filter, whose tops have a size it finds."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.caffe.data import DATA
from ..compiler.caffe.dummy import dummy_shapes
from ..compiler.caffe.layer import Layer as Translated
from ..compiler.caffe.parameters import FILLER_FIELDS
from ..compiler.caffe.rows import ROWS
from ..compiler.layers.selection import FILTER
from ..compiler.program import StateInfo
from ..compiler.spec import Filler
from ..compiler.types import TensorType
from ..grammar.caffe.message import Message
from ..grammar.source import SourceError, SourceErrors, UserError
from ..runtime.caffe.hdf5 import written
from ..runtime.data import open_data
from ..runtime.fillers import fill
from .blob import BlobVec
from .layer import Layer
from .piece import data_of
from .process import PHASES
from .rows import Row

Array = npt.NDArray[Any]


class Host:
    """A layer that Python runs. phase: of its net."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        self.row, self.phase, self.seed = row, phase, seed
        self.message: Message = row.entry.message

    def reshape(self) -> None:
        """Give the tops their shapes, from those of the bottoms; called first when the layer is set up."""

    def forward(self) -> None:
        """Write the tops."""

    def backward(self) -> None:
        """Write the gradients by the bottoms."""


class Input(Host):
    """Tops that somebody writes."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        super().__init__(row, phase, seed)
        shapes = [list(shape.all("dim")) for shape in self.message.sub("input_param").messages("shape")]
        if len(shapes) not in (1, len(row.tops)):
            what = f"{len(shapes)} shapes for {len(row.tops)} tops" if shapes else "`shape` is missing"
            raise SourceErrors([SourceError("E714", f"Input: {what}", self.message.place("input_param"))])
        for i, top in enumerate(row.tops):
            top.reshape(*shapes[i if len(shapes) > 1 else 0])


class Dummy(Host):
    """Tops of fillers: constants once, what is drawn at random anew in each pass."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        super().__init__(row, phase, seed)
        errors: list[SourceError] = []
        given = self.message.sub("dummy_data_param")
        layer = Translated(self.message, ROWS["DummyData"], False, {}, errors.append)
        shapes = dummy_shapes(layer, given, len(row.tops))
        fillers = given.messages("data_filler") or [Message("FillerParameter", given.span)]
        if len(fillers) not in (1, len(row.tops)):
            layer.fail("E714", f"{len(fillers)} `data_filler`s for {len(row.tops)} tops", fillers[-1].span)
        if errors:
            raise SourceErrors(errors)
        self._fillers = [filler_of(fillers[i if len(fillers) > 1 else 0]) for i in range(len(row.tops))]
        self._passes = itertools.count(1)
        for top, shape in zip(row.tops, shapes, strict=True):
            top.reshape(*shape)
        self._fill(first=True)

    def _fill(self, first: bool) -> None:
        number = next(self._passes)
        for top, filler in zip(self.row.tops, self._fillers, strict=True):
            if first or filler.name != "constant":
                info = StateInfo(f"{top.name}/{number}", TensorType(top.shape, "f32"), filler=filler)
                top.view(top.values.flat)[...] = fill(info, self.seed)

    def forward(self) -> None:
        self._fill(first=False)


def filler_of(message: Message) -> Filler:
    """A FillerParameter as what `runtime/fillers.py` takes."""
    kind = str(message.get("type"))
    found = []
    for name in FILLER_FIELDS.get(kind, ()):
        value = message.get(name)
        ours = "variance" if name == "variance_norm" else name
        found.append((ours, value.lower() if isinstance(value, str) else value))
    return Filler(kind, tuple(found))


class MemoryData(Host):
    """MemoryData: batches, one after the other, of arrays that somebody gives."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        super().__init__(row, phase, seed)
        given = self.message.sub("memory_data_param")
        self.batch = int(given.get("batch_size"))
        self._shape = tuple(int(given.get(name)) for name in ("channels", "height", "width"))
        if not all((self.batch, *self._shape)):
            message = "batch_size, channels, height and width are all wanted"
            raise SourceErrors([SourceError("E714", f"MemoryData: {message}", given.span)])
        row.tops[0].reshape(self.batch, *self._shape)
        for top in row.tops[1:]:
            top.reshape(self.batch)
        self._arrays: list[Array] = []
        self._at = 0

    def give(self, data: Array, labels: Array) -> None:
        """Arrays of whole batches, which are kept, not copied; UserError for others."""
        for what, array, shape in (("data", data, self._shape), ("labels", labels, (1, 1, 1))):
            if array.dtype != np.float32 or not array.flags.c_contiguous or array.ndim != 4:
                raise UserError(f"{what}: a row-major array of float32 with 4 axes is wanted, not {_told(array)}")
            if array.shape[1:] != shape:
                raise UserError(f"{what}: records of {' x '.join(map(str, shape))} are wanted, not {_told(array)}")
        if len(data) != len(labels) or not len(data) or len(data) % self.batch:
            raise UserError(f"{len(data)} records and {len(labels)} labels: as many of both, and whole {self.batch}s")
        self._arrays, self._at = [data, labels], 0

    def forward(self) -> None:
        if not self._arrays:
            raise UserError(f"`{self.row.entry.name}` has no data: give it some by set_input_arrays")
        for top, array in zip(self.row.tops, self._arrays, strict=False):
            view = top.view(top.values.flat)
            view[...] = array[self._at : self._at + self.batch].reshape(view.shape)
        self._at = (self._at + self.batch) % len(self._arrays[0])


def _told(array: Array) -> str:
    return f"{array.dtype} {' x '.join(map(str, array.shape))}"


class Source(Host):
    """Batches of a database, of HDF5 files, or of a list of images, read ahead."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        super().__init__(row, phase, seed)
        spec = data_of(self.message)
        assert spec is not None
        mode: Any = PHASES[phase].lower()
        tops = [top.name for top in row.tops]
        self.stream = open_data(spec, mode=mode, seed=seed, only=tops)
        for top in row.tops:
            if top.name not in self.stream.columns:
                known = ", ".join(self.stream.columns)
                raise UserError(f"`{row.entry.name}` brings {known}, and no `{top.name}`")
            top.reshape(*self.stream.columns[top.name][0])

    def forward(self) -> None:
        batch = self.stream.next().columns
        for top in self.row.tops:
            top.view(top.values.flat)[...] = batch[top.name]


class Python(Host):
    """A layer that is a class of the user's: `setup`, `reshape`, `forward`, `backward` on blobs."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        super().__init__(row, phase, seed)
        given = self.message.sub("python_param")
        for field in ("module", "layer"):
            if not given.get(field):
                raise SourceErrors([SourceError("E714", f"Python: `{field}` is missing", given.span)])
        found = getattr(importlib.import_module(given.get("module")), given.get("layer"))
        if not (isinstance(found, type) and issubclass(found, Layer)):
            raise UserError(f"{given.get('module')}.{given.get('layer')} is no class made of caffe.Layer")
        self.layer: Layer = found.__new__(found)
        Layer.__init__(self.layer)
        self.layer.param_str = given.get("param_str")
        self.layer.phase = phase
        self.layer.setup(BlobVec(row.bottoms), BlobVec(row.tops))

    def reshape(self) -> None:
        self.layer.reshape(BlobVec(self.row.bottoms), BlobVec(self.row.tops))

    def forward(self) -> None:
        self.layer.forward(BlobVec(self.row.bottoms), BlobVec(self.row.tops))

    def backward(self) -> None:
        self.layer.backward(BlobVec(self.row.tops), list(self.row.entry.needs), BlobVec(self.row.bottoms))


class Filter(Host):
    """Filter: the items of its bottoms where the last is not 0. First it has all of them, as in Caffe."""

    def __init__(self, row: Row, phase: int, seed: int) -> None:
        super().__init__(row, phase, seed)
        if len(row.tops) != len(row.bottoms) - 1:
            message = f"Filter: {len(row.bottoms)} bottoms want {len(row.bottoms) - 1} tops, not {len(row.tops)}"
            raise SourceErrors([SourceError("E712", message, self.message.place("top"))])

    def reshape(self) -> None:
        if self.row.built is None:
            for bottom, top in zip(self.row.bottoms, self.row.tops, strict=False):
                top.reshape(*bottom.shape)

    def forward(self) -> None:
        found = FILTER.forward(*(bottom.data for bottom in self.row.bottoms))
        for top, array in zip(self.row.tops, found, strict=True):
            top.reshape(*array.shape)
            top.data[...] = array

    def backward(self) -> None:
        bottoms, tops = self.row.bottoms, self.row.tops
        assert FILTER.backward is not None
        arrays = [*(top.diff for top in tops), *(bottom.data for bottom in bottoms), *(top.data for top in tops)]
        for bottom, need, array in zip(bottoms, self.row.entry.needs, FILTER.backward(*arrays), strict=True):
            if need and array is not None:
                bottom.diff[...] = array


class Silence(Host):
    """Silence reads what nobody else does; its gradient is 0."""

    def backward(self) -> None:
        for bottom, need in zip(self.row.bottoms, self.row.entry.needs, strict=True):
            if need:
                bottom.diff[...] = 0


class Output(Host):
    """HDF5Output: the two bottoms of a pass in a file, as `data` and `label`."""

    def forward(self) -> None:
        with written(Path(self.message.sub("hdf5_output_param").get("file_name"))) as file:
            for name, bottom in zip(("data", "label"), self.row.bottoms, strict=False):
                file[name] = bottom.data


HOSTS: dict[str, Callable[[Row, int, int], Host]] = {
    **dict.fromkeys(DATA, Source),
    "Input": Input,
    "DummyData": Dummy,
    "MemoryData": MemoryData,
    "Python": Python,
    "Filter": Filter,
    "Silence": Silence,
    "HDF5Output": Output,
}
