"""caffemodel, solverstate (raw and HDF5), mean files: what protobuf wrote is read, and what is written it reads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netc.caffe.proto import caffe_pb2 as pb
from netc.compiler.program import UserError
from netc.runtime.caffe import extras
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.hdf5 import (
    read_model_hdf5,
    read_solver_state_hdf5,
    write_model_hdf5,
    write_solver_state_hdf5,
)
from netc.runtime.caffe.mean import read_blob_file, write_mean
from netc.runtime.caffe.model import Model, plain_layer, read_model, write_model
from netc.runtime.caffe.solver_state import SolverState, read_solver_state, write_solver_state
from support.caffe.binary import Array, blob_message, net_message, numbers

WEIGHTS = {"data": [], "conv": [numbers(4, 3, 2, 2), numbers(4)], "a/b": [numbers(5, 16)], "scalar": [numbers()]}


def held(model: Model) -> dict[str, list[Array]]:
    return {layer.name: [np.asarray(blob.data) for blob in layer.blobs] for layer in model.layers}


def same(found: dict[str, list[Array]], wanted: dict[str, list[Array]]) -> None:
    assert found.keys() == wanted.keys()
    for name, arrays in wanted.items():
        assert len(found[name]) == len(arrays)
        for ours, theirs in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)


def test_a_model_is_read_and_written_to_the_same_bytes(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.caffemodel", tmp_path / "b.caffemodel"
    path.write_bytes(net_message(WEIGHTS).SerializeToString())
    model = read_model(path)
    assert model.name == "made"
    assert [layer.type for layer in model.layers] == ["Convolution"] * 4
    same(held(model), WEIGHTS)
    write_model(copy, model)
    assert copy.read_bytes() == path.read_bytes()


def test_a_model_of_2014(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.caffemodel", tmp_path / "b.caffemodel"
    path.write_bytes(net_message({"conv": [numbers(4, 3, 2, 2), numbers(4)]}, form=1).SerializeToString())
    model = read_model(path)
    same(held(model), {"conv": [numbers(4, 3, 2, 2), numbers(1, 1, 1, 4)]})
    write_model(copy, model)
    assert copy.read_bytes() == path.read_bytes()


def test_protobuf_reads_a_model_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    double, diff = numbers(2, 3).astype(np.float64), numbers(2, 3, seed=1)
    layers = [plain_layer("x", "InnerProduct", [Blob(numbers(2, 3), diff)]), plain_layer("y", "Bias", [Blob(double)])]
    write_model(path, Model("", tuple(layers)))
    found = pb.NetParameter.FromString(path.read_bytes())
    assert [(layer.name, layer.type) for layer in found.layer] == [("x", "InnerProduct"), ("y", "Bias")]
    assert list(found.layer[0].blobs[0].shape.dim) == [2, 3]
    np.testing.assert_array_equal(np.float32(found.layer[0].blobs[0].diff), diff.ravel())
    np.testing.assert_array_equal(found.layer[1].blobs[0].double_data, double.ravel())


def test_numbers_one_tag_each_and_in_pieces(tmp_path: Path) -> None:
    """What protobuf's older writers, or merged messages, may contain."""
    values = numbers(6)
    one_each = b"".join(b"\x2d" + value.tobytes() for value in values[:4])
    packed = b"\x2a\x08" + values[4:].tobytes()
    shape = pb.BlobProto(shape=pb.BlobShape(dim=[2, 3])).SerializeToString()
    path = tmp_path / "a.binaryproto"
    path.write_bytes(one_each + shape + packed)
    np.testing.assert_array_equal(read_blob_file(path), values.reshape(2, 3))


def test_solver_states(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.solverstate", tmp_path / "b.solverstate"
    history = [blob_message(numbers(4, 3)), blob_message(numbers(4))]
    message = pb.SolverState(iter=7, learned_net="a.caffemodel", history=history, current_step=2)
    path.write_bytes(message.SerializeToString())
    state = read_solver_state(path)
    assert (state.iter, state.learned_net, state.current_step) == (7, "a.caffemodel", 2)
    np.testing.assert_array_equal(state.history[0].data, numbers(4, 3))
    write_solver_state(copy, state)
    assert copy.read_bytes() == path.read_bytes()


def test_hdf5_says_the_same(tmp_path: Path) -> None:
    wanted = {name: arrays for name, arrays in WEIGHTS.items() if name != "data"}
    model = Model("", tuple(plain_layer(name, "", map(Blob, arrays)) for name, arrays in wanted.items()))
    write_model_hdf5(tmp_path / "a.h5", model)
    found = held(read_model_hdf5(tmp_path / "a.h5"))
    same({name: found[name] for name in wanted}, wanted)
    state = SolverState(7, (Blob(numbers(4, 3)), Blob(numbers(4))), "a.caffemodel.h5", 2)
    write_solver_state_hdf5(tmp_path / "s.h5", state)
    again = read_solver_state_hdf5(tmp_path / "s.h5")
    assert replace(again, history=()) == replace(state, history=())
    np.testing.assert_array_equal(again.history[0].data, state.history[0].data)


def test_means(tmp_path: Path) -> None:
    path = tmp_path / "mean.binaryproto"
    write_mean(path, numbers(3, 4, 5))
    message = pb.BlobProto.FromString(path.read_bytes())
    assert (message.num, message.channels, message.height, message.width) == (1, 3, 4, 5)
    np.testing.assert_array_equal(read_blob_file(path), numbers(1, 3, 4, 5))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", "it holds no layers"),
        (b"\x38\x01", "it holds no layers"),
        (b"\xa2\x06\x7f", "a value of 127 bytes at byte 0, where 0 are left"),
        (b"\xa2\x06\x04\x3a\x02\x2a\x7f", "a value of 127 bytes at byte 5"),
        (pb.NetParameter(layer=[pb.LayerParameter()], layers=[pb.V1LayerParameter()]), "layers of both forms"),
        (net_message({"x": [numbers(3)]}).SerializeToString()[:-3], "where"),
        (pb.NetParameter(layer=[pb.LayerParameter(blobs=[pb.BlobProto(shape={"dim": [2**40]})])]), "the shape"),
        (pb.NetParameter(layer=[pb.LayerParameter(blobs=[pb.BlobProto(shape={"dim": [-1]})])]), "the shape -1"),
        (pb.NetParameter(layer=[pb.LayerParameter(blobs=[pb.BlobProto(shape={"dim": [1] * 40})])]), "more than 32"),
        (pb.NetParameter(layer=[pb.LayerParameter(blobs=[pb.BlobProto(shape={"dim": [3]}, data=[1])])]), "takes 3"),
    ],
)
def test_what_is_no_model_is_said_in_a_line(tmp_path: Path, message: object, said: str) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(message if isinstance(message, bytes) else message.SerializeToString())  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="not a caffemodel, or damaged: ") as caught:
        read_model(path)
    assert said in str(caught.value)


def test_the_extra_is_named_where_its_library_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", absent)
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(UserError, match=r"HDF5 needs h5py, .*pip install 'netc\[caffe\]'"):
        read_model_hdf5(tmp_path / "a.h5")


LARGE = """
import resource, sys, time
from pathlib import Path
from netc.runtime.caffe.model import read_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
model = read_model(Path(sys.argv[1]))
opened = time.perf_counter() - start
total = sum(float(blob.data.sum()) for layer in model.layers for blob in layer.blobs)
print(opened, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, total)
"""


def test_a_large_model_opens_at_once_and_is_not_copied(tmp_path: Path) -> None:
    """240 MB: opened in a second, and read in no more memory than the file takes."""
    path = tmp_path / "large.caffemodel"
    blob = Blob(np.ones((3000, 1000), np.float32))
    write_model(path, Model("", tuple(plain_layer(f"fc{k}", "InnerProduct", [blob]) for k in range(20))))
    size = path.stat().st_size
    assert size > 240_000_000
    run = subprocess.run([sys.executable, "-c", LARGE, str(path)], capture_output=True, text=True, check=True)
    opened, memory, total = map(float, run.stdout.split())
    assert total == 60_000_000
    assert opened < 1
    assert memory < 1.2 * size
