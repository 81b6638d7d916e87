"""Caffe's weights and solver states in nets of ours: by layers' names, as Caffe does it, and training that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.caffe.proto import caffe_pb2 as pb
from netc.compiler.program import UserError
from netc.runtime.caffe.hdf5 import read_model_hdf5
from netc.runtime.caffe.model import read_model
from netc.runtime.state import State
from netc.runtime.tensors import read_tensors
from support.caffe.binary import Array, blob_message, net_message, numbers
from support.commands import run

NET = """
net small {
    input x: f32[N, 2, 3, 3]
    input label: i32[N]
    y = x |> conv(4, 3, bias: constant) as "a/conv" |> batch_norm as bn |> relu |> linear(3) as fc
    loss nll = softmax_loss(y, label)
    output prob = softmax(y)
}
data rows = npz("rows.npz", batch: 4)
train small {
    from: rows
    solver: adam(lr: 0.01)
    steps: STEPS
    MORE
}
"""
CONV: list[Array]
BN: list[Array]
SCALE: list[Array]
FC: list[Array]
CONV, BN, SCALE, FC = (
    [numbers(4, 2, 3, 3), numbers(4)],
    [numbers(4), abs(numbers(4)), np.ones(1, np.float32)],
    [numbers(4, seed=1), numbers(4, seed=2)],
    [numbers(3, 4), numbers(3)],
)
LAYERS = {"a/conv": CONV, "bn": BN, "scale": SCALE, "fc": FC}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("rows.npz", x=rng.standard_normal((12, 2, 3, 3)).astype(np.float32), label=rng.integers(0, 3, 12))


def net(steps: int = 3, more: str = "", name: str = "small.net") -> str:
    Path(name).write_text(NET.replace("STEPS", str(steps)).replace("MORE", more))
    return name


def small() -> State:
    return netc.compile(net(), mode="train", dims={"N": 4}).state


def write(layers: Mapping[str, Sequence[Array]], *, form: int = 2, name: str = "w.caffemodel") -> str:
    Path(name).write_bytes(net_message(layers, form=form).SerializeToString())
    return name


def test_layers_by_their_names_and_a_scale_into_the_norm_before_it() -> None:
    state = small()
    report = state.load(write(LAYERS | {"old": [numbers(2)]}), renamed={"scale": "bn"})
    assert report.absent == ()
    assert report.lines() == [
        "4 layers with 108 numbers taken from w.caffemodel",
        "in the file, but not in the net: old",
    ]
    wanted = dict(zip(("weight", "bias"), CONV, strict=True))
    for name, array in wanted.items():
        np.testing.assert_array_equal(state[f"a/conv.{name}"], array)
    for name, array in zip(("mean", "variance", "factor", "weight", "bias"), BN + SCALE, strict=True):
        np.testing.assert_array_equal(state[f"bn.{name}"], array)


def test_layers_that_a_file_lacks_keep_their_values_and_are_named() -> None:
    state = small()
    before = state["fc.weight"].copy()
    report = state.load(write({"a/conv": CONV, "bn": BN, "fc8": FC}))
    shapes = " ".join(f"[{','.join(map(str, array.shape))}]" for array in FC)
    assert report.absent == ("bn (weight, bias)", f"fc (is it fc8 {shapes}?)")
    np.testing.assert_array_equal(state["fc.weight"], before)
    np.testing.assert_array_equal(state["bn.mean"], BN[0])
    state.load("w.caffemodel", fresh=["bn"], renamed={"fc8": "fc"}, strict=True)
    np.testing.assert_array_equal(state["fc.weight"], FC[0])


def test_strict_leaves_nothing_over() -> None:
    state = small()
    with pytest.raises(UserError, match=r"bn\.weight is missing; bn\.bias is missing .*fresh: \[bn\]"):
        state.load(write({"a/conv": CONV, "bn": BN, "fc": FC}), strict=True)
    with pytest.raises(UserError, match="in the file, but not in the net: scale"):
        state.load(write(LAYERS), fresh=["bn"], strict=True)
    with pytest.raises(UserError, match="has no layer `fc9` to rename; did you mean `fc`"):
        state.load("w.caffemodel", renamed={"fc9": "fc"})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"fc": [numbers(4, 3), numbers(3)]},
            r"fc\[0\] of fc.weight is \[4,3\], the net wants \[3,4\]",
        ),
        ({"fc": [numbers(3, 4)]}, r"fc has 1 arrays, the net's 2 \(weight, bias\)"),
        ({"a/conv": [*CONV, numbers(3)]}, r"a/conv has 3 arrays, the net's 2"),
    ],
)
def test_what_does_not_fit_is_an_error_as_in_caffe(changed: dict[str, list[Array]], said: str) -> None:
    state = small()
    before = state["a/conv.weight"].copy()
    with pytest.raises(UserError, match=said):
        state.load(write(LAYERS | changed), fresh=["bn"])
    np.testing.assert_array_equal(state["a/conv.weight"], before)


def test_a_file_of_another_net() -> None:
    with pytest.raises(UserError, match=r"has no layer of the net, such as a/conv; it holds other"):
        small().load(write({"other": [numbers(3)]}))


def test_shapes_of_four_numbers() -> None:
    state = small()
    state.load(write({"a/conv": CONV, "fc": FC}, form=1), fresh=["bn"])
    np.testing.assert_array_equal(state["fc.weight"], FC[0])
    with pytest.raises(UserError, match=r"fc\[0\] of fc.weight is \[1,1,4,3\]"):
        state.load(write({"fc": [numbers(4, 3), numbers(3)]}, form=1), fresh=["bn"])


def test_doubles_are_converted() -> None:
    state = small()
    report = state.load(write({"fc": [array.astype(np.float64) for array in FC]}))
    assert report.converted == ("fc.weight: f64 to f32", "fc.bias: f64 to f32")
    np.testing.assert_array_equal(state["fc.weight"], FC[0])


@pytest.mark.parametrize("name", ["s.caffemodel", "s.caffemodel.h5"])
def test_a_state_is_saved_as_caffe_reads_it(name: str) -> None:
    state = small()
    state["bn.factor"] = [3.0]
    state.save(name)
    model = read_model(Path(name)) if name.endswith("l") else read_model_hdf5(Path(name))
    found = {layer.name: [np.asarray(blob.data) for blob in layer.blobs] for layer in model.layers if layer.blobs}
    assert {key: len(blobs) for key, blobs in found.items()} == {"a/conv": 2, "bn": 5, "fc": 2}
    np.testing.assert_array_equal(found["fc"][0], state["fc.weight"])
    other = small()
    other["bn.factor"] = [0.0]
    other.load(name, strict=True)
    for key in state:
        np.testing.assert_array_equal(other[key], state[key])


def test_commands_take_them() -> None:
    weights = write(LAYERS)
    status, _, told = run("run", net(), "rows.npz", "--weights", weights, "--map", "scale=bn", "--out", "out.npz")
    assert (status, told) == (0, "netc: 4 layers with 108 numbers taken from w.caffemodel\n")
    exe = netc.compile("small.net", dims={"N": 12}, outputs=["prob"])
    exe.state.load(weights, renamed={"scale": "bn"})
    rows = np.load("rows.npz")["x"]
    np.testing.assert_allclose(np.load("out.npz")["prob"], exe(x=rows)["prob"], rtol=1e-5)
    status, _, told = run("run", "small.net", "rows.npz", "--weights", weights, "--strict")
    assert status == 2
    assert "bn.weight is missing" in told
    status, _, told = run("compile", "small.net", "--weights", weights, "--map", "scale", "-o", "out")
    assert status == 2
    assert "--map wants NAME=VALUE, not `scale`" in told


def test_a_file_names_weights_and_renames_their_layers() -> None:
    write(LAYERS)
    file = net(1, 'weights: "w.caffemodel"\n    rename: ["scale = bn"]')
    status, _, told = run("train", file, "--folder", "run")
    assert status == 0, told
    assert "4 layers with 108 numbers taken from" in told
    assert abs(read_tensors(Path("run/small.safetensors"))["bn.weight"] - SCALE[0]).max() < 0.02
    status, _, told = run("check", net(1, 'weights: "w.caffemodel"\n    rename: ["scale"]'))
    assert status == 2
    assert "`rename` takes texts OLD=NEW" in told


def history(state: State, name: str, order: Sequence[str]) -> list[Any]:
    """One set of histories as Caffe numbers them: of what is not learned they are 0."""
    own = state.logical()
    return [blob_message(own.get(f"{name}/{key}", np.zeros(state[key].shape, np.float32))) for key in order]


def test_training_goes_on_where_caffe_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    """Six steps at once, and three and three with Caffe's files in between; the data is three batches."""
    status, _, told = run("train", net(6), "--folder", "whole", "--threads", "1")
    assert status == 0, told
    half = netc.compile(net(3), mode="train", dims={"N": 4}, threads=1)
    rows = np.load("rows.npz")
    for start in (0, 4, 8):
        half(x=rows["x"][start : start + 4], label=rows["label"][start : start + 4].astype(np.int32))
    half.state.save("half.caffemodel")
    order = list(half.state)
    assert order[2:5] == ["bn.mean", "bn.variance", "bn.factor"]
    blobs = history(half.state, ".history0", order) + history(half.state, ".history1", order)
    state = pb.SolverState(iter=3, learned_net="elsewhere/half.caffemodel", history=blobs, current_step=0)
    Path("half.solverstate").write_bytes(state.SerializeToString())

    status, _, told = run("train", net(6), "--folder", "rest", "--solverstate", "half.solverstate", "--threads", "1")
    assert status == 0, told
    assert "goes on after step 3 of half.solverstate" in told
    whole, rest = (read_tensors(Path(folder, "small.safetensors")) for folder in ("whole", "rest"))
    for name, array in whole.items():
        np.testing.assert_array_equal(rest[name], array, err_msg=name)

    status, _, told = run("train", net(3), "--folder", "none", "--solverstate", "half.solverstate")
    assert (status, "is after step 3, the run has 3: give more --steps" in told) == (2, True)
    Path("half.solverstate").write_bytes(pb.SolverState(iter=3, history=blobs[1:]).SerializeToString())
    status, _, told = run("train", net(6), "--folder", "none", "--weights", "half.caffemodel", "--solverstate",
                          "half.solverstate")  # fmt: skip
    assert (status, "it has 17 histories, adam keeps 2 for each of 9 parameters" in told) == (2, True)
