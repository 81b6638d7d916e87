"""What weight files hold, under the names of a net: safetensors by tensors' names, caffemodels by layers' names.

Caffe knows a layer's arrays by their number alone: the first is the weight, the second the bias, as the net lists them;
of a batch norm mean, variance and factor. A weight and a bias may follow these in a net of ours, which Caffe has in a
layer `Scale`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..compiler.program import StateInfo, UserError
from .foreign_weights import foreign
from .tensors import entries, printable, read_tensors, write_tensors

Array = npt.NDArray[Any]

HDF5 = (".h5", ".hdf5")
CAFFE = (".caffemodel", *HDF5)
F64_BYTES = 8


@dataclass(frozen=True)
class Stored:
    """A tensor of a file: its name there, its layer's, element type as safetensors writes it, shape.

    array: of Caffe's files a view, in the shape of the net's tensor if it fits that.
    """

    name: str
    layer: str
    dtype: str
    shape: tuple[int, ...]
    array: Array | None = None


@dataclass
class Contents:
    """What a file holds. tensors: by names as `plain` makes them. layers: by their names in the file. others: those of
    them that the net does not have. shapes: of the arrays of each of these.

    problems: a layer of the net, and what is wrong with the file's. partial: it may lack layers, as Caffe's may.
    """

    path: Path
    partial: bool
    tensors: dict[str, Stored] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    shapes: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def arrays(self, names: Mapping[str, str]) -> dict[str, Array]:
        """Some of the tensors; names: what they are called in the result, by their names in `tensors`."""
        found = {key: stored.array for key, stored in self.tensors.items() if key in names}
        there = {names[key]: array for key, array in found.items() if array is not None}
        unread = {self.tensors[key].name: names[key] for key, array in found.items() if array is None}
        if unread:
            there |= {unread[name]: array for name, array in read_tensors(self.path, unread).items()}
        return there


def plain(name: str) -> str:
    """A name with `/` for `.`, as they count as the same."""
    return name.replace("/", ".")


def layer_of(name: str) -> str:
    """The layer that a tensor belongs to: all but the last part of its name."""
    return name.rpartition(".")[0] or name


def is_caffe(path: Path) -> bool:
    """Whether a file's name says that it holds weights of Caffe's."""
    return path.name.lower().endswith(CAFFE)


def contents(path: Path, infos: Sequence[StateInfo], renamed: Mapping[str, str]) -> Contents:
    """What a weight file holds for a net. renamed: layers (or blocks) of the file that have another name in the net."""
    names = {plain(old): new for old, new in renamed.items()}
    return _caffes(path, infos, names) if is_caffe(path) else _ours(path, infos, names)


def renamed_to(name: str, names: Mapping[str, str]) -> str:
    """A layer's name after renaming it, or the longest block around it."""
    key = plain(name)
    fitting = [old for old in names if key == old or key.startswith(f"{old}.")]
    if not fitting:
        return name
    old = max(fitting, key=len)
    return names[old] + key[len(old) :]


def _ours(path: Path, infos: Sequence[StateInfo], names: Mapping[str, str]) -> Contents:
    if what := foreign(path):
        raise UserError(f"{path}: this is {what}")
    found = Contents(path, partial=False)
    known = {plain(info.name) for info in infos}
    seen: dict[str, str] = {}
    for name, entry in entries(path).items():
        other = seen.setdefault(plain(name), name)
        if other != name:
            raise UserError(f"{path}: `{printable(other)}` and `{printable(name)}` count as the same name")
        if name.startswith("."):  # histories and counters of a snapshot
            continue
        layer, key = layer_of(name), plain(renamed_to(name, names))
        found.layers.append(layer)
        if key in found.tensors:
            raise UserError(f"{path}: `{printable(name)}` and another tensor are both renamed to `{printable(key)}`")
        found.tensors[key] = Stored(name, layer, entry.dtype, entry.shape)
        if key not in known:
            found.shapes.setdefault(layer, []).append(entry.shape)
    found.others += found.shapes
    return found


def _caffes(path: Path, infos: Sequence[StateInfo], names: Mapping[str, str]) -> Contents:
    from .caffe.hdf5 import read_model_hdf5
    from .caffe.model import read_model

    model = read_model_hdf5(path) if path.suffix.lower() in HDF5 else read_model(path)
    layers: dict[str, list[StateInfo]] = {}
    for info in infos:
        layers.setdefault(plain(info.layer or layer_of(info.name)), []).append(info)
    found = Contents(path, partial=True)
    for layer in model.layers:
        if not layer.blobs:
            continue
        found.layers.append(layer.name)
        name = renamed_to(layer.name, names)
        members = layers.get(plain(name))
        if members is None:
            found.others.append(layer.name)
            found.shapes[layer.name] = [blob.data.shape for blob in layer.blobs]
            continue
        taken = _members(members, len(layer.blobs))
        if taken is None:
            held = ", ".join(info.name.rpartition(".")[2] for info in members)
            text = f"{printable(layer.name)} has {len(layer.blobs)} arrays, the net's {len(members)} ({held})"
            found.problems.append((members[0].layer or layer_of(members[0].name), text))
            continue
        for number, (info, blob) in enumerate(zip(taken, layer.blobs, strict=True)):
            dtype = "F64" if blob.data.dtype.itemsize == F64_BYTES else "F32"
            title = f"{layer.name}[{number}]"
            wanted = tuple(info.type.shape)
            array = blob.data.reshape(wanted) if blob.fits(wanted) else blob.data
            found.tensors[plain(info.name)] = Stored(title, layer.name, dtype, array.shape, array)
    return found


def _members(members: Sequence[StateInfo], count: int) -> Sequence[StateInfo] | None:
    """Those tensors of a layer that so many arrays of a file are: all, only statistics, or only parameters."""
    statistics = [info for info in members if info.kind == "statistic"]
    parameters = [info for info in members if info.kind != "statistic"]
    return next((group for group in (members, statistics, parameters) if len(group) == count), None)


def write_weights(path: Path, tensors: Sequence[tuple[StateInfo, Array]]) -> None:
    """Write a net's tensors, whole or not at all, in the form that the file's name says."""
    if not is_caffe(path):
        write_tensors(path, {info.name: array for info, array in tensors})
        return
    from .caffe.blob import Blob
    from .caffe.hdf5 import write_model_hdf5
    from .caffe.model import Model, plain_layer, write_model

    layers: dict[str, list[Blob]] = {}
    for info, array in tensors:
        layers.setdefault(info.layer or layer_of(info.name), []).append(Blob(array))
    model = Model("", tuple(plain_layer(name, "", blobs) for name, blobs in layers.items()))
    if path.suffix.lower() in HDF5:
        write_model_hdf5(path, model)
    else:
        write_model(path, model)
