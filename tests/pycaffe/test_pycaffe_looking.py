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
