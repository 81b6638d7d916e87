"""Caffe's binary files that claim much, or reach elsewhere: refused in a line (tests/attack damages them by chance)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from netc.caffe.proto import caffe_pb2 as pb
from netc.compiler.program import UserError
from netc.runtime.caffe.hdf5 import read_model_hdf5
from netc.runtime.caffe.model import read_model


def refused(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)


def test_small_files_that_claim_much_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    empty = b"\xa2\x06\x00" * 400_000  # layers with nothing in them
    deep = b"\xa2\x06\x7f" * 10_000
    blobs = pb.LayerParameter(blobs=[pb.BlobProto()] * 100_000).SerializeToString()
    many = b"\xa2\x06" + pb.NetParameter(layer=[]).SerializeToString() + b"\xc2\x9a\x0c" + blobs
    for content in (empty, deep, many):
        path.write_bytes(content)
        tracemalloc.start()
        assert refused(read_model, path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64_000_000


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
    layout[:] = h5py.VirtualSource("elsewhere.h5", "x", shape=(4,))
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
    assert said in refused(read_model_hdf5, path)
