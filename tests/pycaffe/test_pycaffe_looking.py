"""Blobs that a pass left out are made when they are looked at, as they were in that pass; held views follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
from support.caffe.pycaffe import DEEP

PASSES = 5  # the first three keep everything


@pytest.fixture
def net(tmp_path: Path) -> Any:
    path = tmp_path / "deep.prototxt"
    path.write_text(DEEP)
    caffe.set_random_seed(3)
    return caffe.Net(path, caffe.TRAIN)


def records(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((4, 2, 6, 6)).astype("f4")


def left_out(net: Any) -> set[str]:
    return {name for name, blob in net.blobs.items() if blob.values.pending is not None}


def test_what_nobody_looks_at_is_left_out(net: Any) -> None:
    for seed in range(PASSES):
        net.forward(data=records(seed))
    assert left_out(net) >= {"conv", "drop"}
    assert not left_out(net) & set(net.outputs)


def test_what_was_left_out_is_of_its_pass(net: Any, tmp_path: Path) -> None:
    """Though input, parameters and statistics were written since."""
    path = tmp_path / "first.caffemodel"
    net.save(path)
    for seed in range(PASSES):
        net.forward(data=records(seed))
    assert left_out(net) >= {"conv", "drop", "ip"}
    net.blobs["data"].data[...] = 0
    net.params["conv"][0].data[...] = 7
    net.params["norm"][0].data[...] = 7
    found = {name: blob.data.copy() for name, blob in net.blobs.items()}
    np.testing.assert_array_equal(found["data"], 0)
    np.testing.assert_array_equal(net.params["norm"][0].data, 7)
    net.copy_from(path)
    weight, bias = (blob.data for blob in net.params["conv"])
    windows = np.lib.stride_tricks.sliding_window_view(records(PASSES - 1), (3, 3), axis=(2, 3))
    conv = np.einsum("nchwij,ocij->nohw", windows, weight) + bias[:, None, None]
    centred = conv - conv.mean((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        found["conv"], centred / np.sqrt(conv.var((0, 2, 3), keepdims=True) + 1e-5), rtol=1e-3, atol=1e-4
    )
    kept = found["drop"] != 0
    np.testing.assert_allclose(found["drop"][kept], 2 * np.maximum(found["conv"], 0)[kept], rtol=1e-5)
    assert 0.3 < np.mean(kept[found["conv"] > 0]) < 0.7
    flat = found["drop"].reshape(4, -1)
    ip = flat @ net.params["ip"][0].data.T + net.params["ip"][1].data
    np.testing.assert_allclose(found["ip"], ip, rtol=1e-3, atol=1e-4)


def test_what_was_left_out_is_of_the_parameters_before_sharing(net: Any, tmp_path: Path) -> None:
    for _ in range(PASSES):
        net.forward(data=records(1))
    assert left_out(net) >= {"conv", "ip"}
    twin = caffe.Net(tmp_path / "deep.prototxt", caffe.TRAIN)
    weight, bias = (blob.data.copy() for blob in net.params["ip"])
    net.share_with(twin)
    np.testing.assert_allclose(
        net.blobs["ip"].data, net.blobs["drop"].data.reshape(4, -1) @ weight.T + bias, rtol=1e-3, atol=1e-4
    )
    net.forward(data=records(1))
    weight, bias = (blob.data for blob in twin.params["ip"])
    np.testing.assert_allclose(
        net.blobs["ip"].data, net.blobs["drop"].data.reshape(4, -1) @ weight.T + bias, rtol=1e-3, atol=1e-4
    )


def test_what_was_looked_at_is_kept_and_held_views_follow(net: Any) -> None:
    view = net.blobs["conv"].data
    for seed in range(PASSES):
        net.forward(data=records(seed))
        assert "conv" not in left_out(net)
    before = view.copy()
    net.forward(data=records(PASSES))
    assert np.abs(view - before).max() > 0.1
    np.testing.assert_array_equal(view, net.blobs["conv"].data)


def test_a_part_runs_on_what_was_left_out(net: Any) -> None:
    for seed in range(PASSES):
        net.forward(data=records(seed))
    loss = float(net.blobs["loss"].data)
    assert "ip" in left_out(net)
    net.forward(start="loss")
    assert float(net.blobs["loss"].data) == pytest.approx(loss, rel=1e-5)


def test_gradients_after_passes_that_left_much_out(net: Any) -> None:
    for seed in range(PASSES):
        net.forward(data=records(seed))
    assert left_out(net)
    net.backward()
    assert not left_out(net)
    ip, label = net.blobs["ip"], net.blobs["label"].data.astype(int)
    exp = np.exp(ip.data - ip.data.max(1, keepdims=True))
    expected = exp / exp.sum(1, keepdims=True)
    expected[np.arange(4), label] -= 1
    np.testing.assert_allclose(ip.diff, expected / 4, rtol=1e-4, atol=1e-6)
    weight = ip.diff.T @ net.blobs["drop"].data.reshape(4, -1)
    np.testing.assert_allclose(net.params["ip"][0].diff, weight, rtol=1e-3, atol=1e-5)


CHAIN = """force_backward: true
layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 2 dim: 5 dim: 5 } } }
layer {
  name: 'conv' type: 'Convolution' bottom: 'x' top: 'c'
  convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: 'xavier' } }
}
layer { name: 'norm' type: 'BatchNorm' bottom: 'c' top: 'c' }
layer { name: 'scale' type: 'Scale' bottom: 'c' top: 'c' scale_param { filler { value: 2 } bias_term: true } }
layer { name: 'relu' type: 'ReLU' bottom: 'c' top: 'c' relu_param { negative_slope: 0.5 } }
layer { name: 'sum' type: 'Reduction' bottom: 'c' top: 'sum' reduction_param { operation: SUMSQ } loss_weight: 1 }
"""


def test_gradients_of_what_is_overwritten_in_its_place(tmp_path: Path) -> None:
    """The same, whether it is computed again, was kept by the program, or by layers that ran one by one."""
    (tmp_path / "chain.prototxt").write_text(CHAIN)
    found: list[list[np.ndarray[Any, Any]]] = []
    weights = str(tmp_path / "w.caffemodel")
    for way in ("again", "kept", "one by one", "part by part"):
        net = caffe.Net(tmp_path / "chain.prototxt", caffe.TRAIN)
        if found:
            net.copy_from(weights)
        else:
            net.save(weights)
        net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal(net.blobs["x"].shape)
        if way == "kept":
            net.backward()  # from now on passes keep what backward passes need
        if way == "one by one":
            net.after_forward(lambda number: None)
            net.before_backward(lambda number: None)
        if way == "part by part":
            net.forward(end="conv")
            net.forward(start="norm")
        else:
            net.forward()
        net.clear_param_diffs()
        if way == "part by part":
            net.backward(end="scale")
            net.backward(start="norm")
        else:
            net.backward()
        diffs = [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
        found.append([net.blobs["x"].diff.copy(), net.blobs["c"].diff.copy(), *diffs])
    assert all(np.abs(array).max() > 0.01 for array in (found[0][0], found[0][1], found[0][2]))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_many_shapes_take_no_more_memory_than_some(tmp_path: Path) -> None:
    path = tmp_path / "any.prototxt"
    path.write_text(
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 1 } } }\n"
        "layer { name: 'p' type: 'Power' bottom: 'x' top: 'y' power_param { scale: 3 } }"
    )
    net = caffe.Net(path, caffe.TEST)
    for size in (*range(1, 50), 3):
        net.blobs["x"].reshape(size)
        net.blobs["x"].data[...] = size
        np.testing.assert_array_equal(net.forward()["y"], np.full(size, 3 * size, "f4"))
    assert len(net._core._segments) == 32
    assert len(net._core._pieces) == 16
