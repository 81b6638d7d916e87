"""HDF5 files of strangers, read and written by h5py with nothing believed: only numbers that lie in the file itself.

Links to other files, virtual and external data, and filters that come as plugins are refused; what an array would take
in memory is held against what the file stores of it before it is read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.program import UserError
from ..atomic import write_bytes
from ..data.files import DEFLATE_RATIO, check_regular, explained, memory_limit
from ..foreign_weights import KERAS
from ..tensors import printable
from .blob import MAX_AXES, Blob
from .extras import needed
from .model import MAX_LAYERS, Layer, Model, plain_layer
from .solver_state import MAX_HISTORIES, SolverState, checked_state
from .wire import Array, Damaged

SIGNATURE = b"\x89HDF\r\n\x1a\n"
KERAS_GROUPS = {"model_weights", "layer_names", "layers", "vars", "_layer_checkpoint_dependencies"}
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3  # the filters that are part of HDF5 itself and unpack by a known ratio at most
MAX_DEPTH = 8  # groups in groups; the names of layers may hold strokes
MAX_OBJECTS = 1 << 18
MAX_TEXT = 1 << 16


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    check_regular(path)
    with explained(path), path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


@contextmanager
def opened(path: Path, what: str) -> Iterator[Hdf5]:
    """An HDF5 file, open for reading; every fault is a `UserError`. what: it should be, as `a caffemodel`."""
    check_regular(path)
    h5py = needed("h5py", f"{path}: HDF5")
    try:
        with h5py.File(path, "r") as file:
            yield Hdf5(h5py, file, path)
    except UserError:
        raise
    except Exception as error:  # h5py raises many kinds on damaged files
        reason = printable(str(error).split("\n")[0], 160) or type(error).__name__
        raise UserError(f"{path}: not {what} in HDF5, or damaged: {reason}") from None


class Hdf5:
    """An open file: its arrays by name."""

    def __init__(self, h5py: Any, file: Any, path: Path) -> None:
        self._h5py = h5py
        self._file = file
        self.path = path

    def names(self, group: str = "/") -> list[str]:
        """The names in a group, in order; `Damaged` where there is no such group, or too much in it."""
        held = self._get(self._file, group) if group != "/" else self._file
        if not isinstance(held, self._h5py.Group):
            raise Damaged(f"there is no group `{printable(group)}`")
        if len(held) > MAX_OBJECTS:
            raise Damaged(f"the group `{printable(group)}` has {len(held):,} members")
        return list(held)

    def groups(self, group: str) -> Iterator[tuple[str, list[str]]]:
        """Each group below one, by its name from there, with the names of the arrays in it."""
        left = MAX_OBJECTS

        def walk(place: str, depth: int) -> Iterator[tuple[str, list[str]]]:
            nonlocal left
            arrays = []
            for name in self.names(f"{group}/{place}".rstrip("/")):
                left -= 1
                if depth == MAX_DEPTH or left < 0:
                    raise Damaged("groups within groups without end")
                inner = f"{place}/{name}".lstrip("/")
                if isinstance(self._get(self._file, f"{group}/{inner}"), self._h5py.Group):
                    yield from walk(inner, depth + 1)
                else:
                    arrays.append(name)
            if place:
                yield place, arrays

        yield from walk("", 0)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, which is one of numbers that can be read."""
        return tuple(self._checked(name).shape)

    def dtype(self, name: str) -> np.dtype[Any]:
        """The element type of an array."""
        dtype: np.dtype[Any] = self._checked(name).dtype
        return dtype

    def array(self, name: str) -> Array:
        """An array of numbers."""
        return np.asarray(self._checked(name)[()])

    def text(self, name: str) -> str:
        """A text of bounded length; empty where there is none."""
        if name not in self.names():
            return ""
        held = self._dataset(name)
        if held.shape != () or held.dtype.kind not in "SO" or held.dtype.itemsize > MAX_TEXT:
            raise Damaged(f"`{printable(name)}` is no text")
        value = held[()]
        return value.decode("utf-8", "replace")[:MAX_TEXT] if isinstance(value, bytes) else str(value)[:MAX_TEXT]

    def _get(self, group: Any, name: str) -> Any:
        """What lies at a place, by hard links only."""
        held = group
        for part in name.strip("/").split("/"):
            link = held.get(part, getlink=True)
            if not isinstance(link, self._h5py.HardLink):
                raise Damaged(f"`{printable(name)}` is a link, or not there")
            held = held[part]
        return held

    def _dataset(self, name: str) -> Any:
        held = self._get(self._file, name)
        if not isinstance(held, self._h5py.Dataset):
            raise Damaged(f"`{printable(name)}` is no array")
        if held.is_virtual or held.external:
            raise Damaged(f"`{printable(name)}` lies in another file")
        return held

    def _checked(self, name: str) -> Any:
        held = self._dataset(name)
        if held.shape is None or len(held.shape) > MAX_AXES or held.dtype.kind not in "fiub":
            raise Damaged(f"`{printable(name)}` holds {held.dtype}, not numbers")
        plan = held.id.get_create_plist()
        filters = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())}
        if filters - {DEFLATE, SHUFFLE, FLETCHER32}:
            raise Damaged(f"`{printable(name)}` is packed in a way that netc does not read")
        size, stored = held.dtype.itemsize * _product(held.shape), held.id.get_storage_size()
        if size > (stored + 1) * (DEFLATE_RATIO if DEFLATE in filters else 1):
            raise Damaged(f"`{printable(name)}` takes {size:,} bytes, the file stores {stored:,} of it")
        if size > memory_limit():
            raise Damaged(f"`{printable(name)}` takes {size:,} bytes, more than this machine can hold")
        return held


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= int(size)
    return total


def read_model_hdf5(path: Path) -> Model:
    """The weights in a `.caffemodel.h5`: `data/<layer>/<number>`; layers without blobs have a group too."""
    with opened(path, "a caffemodel") as file:
        names = file.names()
        if "data" not in names and KERAS_GROUPS & {*names}:
            raise UserError(f"{path}: this is {KERAS}")
        if "data" not in names:
            raise Damaged("it has no group `data`")
        layers: list[Layer] = []
        for name, arrays in file.groups("data"):
            if len(layers) == MAX_LAYERS:
                raise Damaged(f"more than {MAX_LAYERS:,} layers")
            blobs = [Blob(_floats(file, f"data/{name}/{number}")) for number in _numbered(arrays)]
            layers.append(plain_layer(name, "", blobs))
    if not layers:
        raise UserError(f"{path}: not a caffemodel in HDF5: it holds no layers")
    return Model("", tuple(layers))


def read_solver_state_hdf5(path: Path) -> SolverState:
    """The state in a `.solverstate.h5`: iter, current_step, learned_net and `history/<number>`."""
    with opened(path, "a solverstate") as file:
        names = file.names()
        if "iter" not in names:
            raise Damaged("it says no `iter`")
        history = [Blob(_floats(file, f"history/{k}")) for k in _numbered(file.names("history"), MAX_HISTORIES)]
        step = _whole(file, "current_step") if "current_step" in names else 0
        return checked_state(_whole(file, "iter"), history, file.text("learned_net"), step)


def _numbered(names: list[str], most: int = MAX_LAYERS) -> range:
    """The names 0, 1, … of arrays, all there."""
    if len(names) > most or {*names} != {str(number) for number in range(len(names))}:
        raise Damaged(f"arrays named {printable(', '.join(names[:8]))} where 0, 1, … were expected")
    return range(len(names))


def _floats(file: Hdf5, name: str) -> Array:
    array = file.array(name)
    if array.dtype.kind != "f" or array.dtype.itemsize not in (4, 8):
        raise Damaged(f"`{printable(name)}` holds {array.dtype}, not f32 or f64")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _whole(file: Hdf5, name: str) -> int:
    if file.shape(name) not in ((), (1,)) or file.dtype(name).kind not in "iu":
        raise Damaged(f"`{name}` is no whole number")
    return int(file.array(name).reshape(()))


@contextmanager
def written(path: Path) -> Iterator[Any]:
    """An HDF5 file to fill, which becomes `path` at the end, whole or not at all (see `replace_file`).

    It is filled in memory: where a disk is full the library raises what it likes as it closes a file, or crashes.
    """
    h5py = needed("h5py", f"{path}: HDF5")
    content = io.BytesIO()
    with h5py.File(content, "w", libver=("earliest", "v108")) as file:
        yield file
    write_bytes(path, content.getbuffer())


def write_model_hdf5(path: Path, model: Model) -> None:
    """Write a `.caffemodel.h5`, whole or not at all; a `UserError` for a name that is another's beginning with `/`."""
    with written(path) as file:
        data = file.create_group("data")
        for layer in model.layers:
            group = data.require_group(layer.name)
            for number, blob in enumerate(layer.blobs):
                group.create_dataset(str(number), data=blob.data)


def write_solver_state_hdf5(path: Path, state: SolverState) -> None:
    """Write a `.solverstate.h5`, whole or not at all."""
    h5py = needed("h5py", f"{path}: HDF5")
    with written(path) as file:
        file["iter"] = np.array([state.iter], np.int32)
        net = state.learned_net.encode() + b"\0"
        file.create_dataset("learned_net", data=np.bytes_(net), dtype=h5py.string_dtype("ascii", len(net)))
        file["current_step"] = np.array([state.current_step], np.int32)
        history = file.create_group("history")
        for number, blob in enumerate(state.history):
            history.create_dataset(str(number), data=blob.data)


def write_arrays_hdf5(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays of numbers or of texts by their names, whole or not at all; UserError where a name cannot be one."""
    h5py = needed("h5py", f"{path}: HDF5")
    with written(path) as file:
        for name, array in arrays.items():
            texts = array.dtype.kind == "U"
            kind = h5py.string_dtype() if texts else array.dtype
            try:
                file.create_dataset(name, data=array.astype(object) if texts else array, dtype=kind)
            except (ValueError, TypeError) as error:  # a name that is another's beginning with `/`
                said = printable(str(error).split("\n")[0], 100)
                raise UserError(f"{path}: `{printable(name, 100)}` cannot be an array in HDF5: {said}") from None
