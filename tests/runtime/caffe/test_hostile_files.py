"""Caffe's binary files, damaged by chance: read, or refused in a line. Nothing else is raised, memory is bounded."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from netc.caffe.proto import caffe_pb2 as pb
from netc.compiler.program import UserError
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.datum import datum_bytes, encoded_bytes, parse_datum
from netc.runtime.caffe.hdf5 import read_model_hdf5, read_solver_state_hdf5, write_model_hdf5, write_solver_state_hdf5
from netc.runtime.caffe.mean import read_blob_file
from netc.runtime.caffe.model import Model, plain_layer, read_model
from netc.runtime.caffe.solver_state import SolverState, read_solver_state
from netc.runtime.caffe.wire import Damaged
from support.caffe.binary import blob_message, net_message, numbers

LAYERS = {"conv": [numbers(4, 3, 2, 2), numbers(4)], "ip": [numbers(5, 16)]}
EXTREMES = (b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), b"\x80" * 8)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Some bytes set, the end cut off, or a number made extreme."""
    found = bytearray(content)
    kind = chance.randrange(4)
    if kind == 0:
        for _ in range(chance.choice((1, 2, 8, 40))):
            found[chance.randrange(len(found))] = chance.randrange(256)
    elif kind == 1:
        del found[chance.randrange(len(found)) :]
    elif kind == 2:
        at = chance.randrange(len(found))
        found[at : at + 8] = chance.choice(EXTREMES)
    else:
        at, end = sorted(chance.randrange(len(found)) for _ in range(2))
        found[at:at] = found[at : at + min(end - at, 200)]
    return bytes(found)


def models(form: int) -> bytes:
    content: bytes = net_message(LAYERS, form=form).SerializeToString()
    return content


def state_bytes() -> bytes:
    history = [blob_message(array) for arrays in LAYERS.values() for array in arrays]
    content: bytes = pb.SolverState(iter=7, learned_net="x", history=history).SerializeToString()
    return content


RAW: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "caffemodel": (models(2), read_model),
    "caffemodel of 2014": (models(1), read_model),
    "solverstate": (state_bytes(), read_solver_state),
    "mean": (blob_message(numbers(1, 3, 4, 5), legacy=True).SerializeToString(), read_blob_file),
}


def refused_or_read(read: Callable[[Path], Any], path: Path) -> str:
    said = ""
    try:
        read(path)
    except UserError as error:
        said = str(error)
    assert said.isprintable()
    return said


@pytest.mark.parametrize("kind", RAW)
def test_damaged_messages(tmp_path: Path, kind: str) -> None:
    content, read = RAW[kind]
    chance = random.Random(kind)
    path = tmp_path / "file"
    said = set()
    for _ in range(500):
        path.write_bytes(damaged(content, chance))
        said.add(bool(refused_or_read(read, path)))
    assert said == {True, False}


def test_damaged_records() -> None:
    chance = random.Random(0)
    for record in (
        datum_bytes(np.zeros((3, 4, 5), np.uint8), -1),
        datum_bytes(numbers(3, 4, 5), 9),
        encoded_bytes(b"\x89PNG....", 3),
    ):
        outcomes = set()
        for _ in range(500):
            said = ""
            try:
                parse_datum(damaged(record, chance))
            except Damaged as error:
                said = str(error)
            assert said.isprintable()
            outcomes.add(bool(said))
        assert outcomes == {True, False}


def test_small_files_that_claim_much_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    empty = b"\xa2\x06\x00" * 400_000  # layers with nothing in them
    deep = b"\xa2\x06\x7f" * 10_000
    blobs = pb.LayerParameter(blobs=[pb.BlobProto()] * 100_000).SerializeToString()
    many = b"\xa2\x06" + pb.NetParameter(layer=[]).SerializeToString() + b"\xc2\x9a\x0c" + blobs
    for content in (empty, deep, many):
        path.write_bytes(content)
        tracemalloc.start()
        assert refused_or_read(read_model, path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64_000_000


def test_damaged_hdf5(tmp_path: Path) -> None:
    model, state, path = tmp_path / "m.h5", tmp_path / "s.h5", tmp_path / "file"
    layers = [plain_layer(name, "", map(Blob, arrays)) for name, arrays in LAYERS.items()]
    write_model_hdf5(model, Model("", tuple(layers)))
    write_solver_state_hdf5(state, SolverState(7, tuple(Blob(a) for arrays in LAYERS.values() for a in arrays), "x"))
    chance = random.Random(0)
    for content, read in ((model.read_bytes(), read_model_hdf5), (state.read_bytes(), read_solver_state_hdf5)):
        said = set()
        for _ in range(300):
            path.write_bytes(damaged(content, chance))
            said.add(bool(refused_or_read(read, path)))
        assert said == {True, False}


def bomb(group: h5py.Group) -> None:
    group.create_dataset("0", shape=(1 << 20, 1 << 18), dtype="f4", chunks=(1024, 1024), compression="gzip")


def soft(group: h5py.Group) -> None:
    group["1"] = np.zeros(3, np.float32)
    group["0"] = h5py.SoftLink("/data/x/1")


def elsewhere(group: h5py.Group) -> None:
    group["0"] = h5py.ExternalLink("/etc/passwd", "/x")


def external(group: h5py.Group) -> None:
    group.create_dataset("0", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)])


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(4,))
    group.create_virtual_dataset("0", layout)


def objects(group: h5py.Group) -> None:
    group.create_dataset("0", data=["text"], dtype=h5py.string_dtype())


def circle(group: h5py.Group) -> None:
    group["again"] = group


def packed(group: h5py.Group) -> None:
    group.create_dataset("0", data=np.zeros(64, np.float32), compression="lzf")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (bomb, "takes 1,099,511,627,776 bytes, the file stores 0 of it"),
        (soft, "`data/x/0` is a link"),
        (elsewhere, "`data/x/0` is a link"),
        (external, "lies in another file"),
        (virtual, "lies in another file"),
        (objects, "not numbers"),
        (circle, "groups within groups without end"),
        (packed, "packed in a way that netc does not read"),
    ],
)
def test_hdf5_that_reaches_elsewhere_or_grows(tmp_path: Path, make: Callable[[h5py.Group], None], said: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        make(file.create_group("data/x"))
    assert said in refused_or_read(read_model_hdf5, path)
