"""Layers that bring data, and those that take it: batches are Caffe's to the bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
from netc.caffe.core import Core
from netc.caffe.net import Net
from netc.caffe.table import net_of_text, table
from netc.grammar.source import SourceErrors, UserError
from support.caffe import CONFORMANCE

FILES = CONFORMANCE / "files"
CASES = sorted(FILES.glob("data__*.npz"))


def net_of(text: str, phase: int = caffe.TEST, place: str = "net.prototxt") -> Any:
    return Net.of(Core(table(net_of_text(text, place), ("TRAIN", "TEST")[phase]), phase))


@pytest.mark.skipif(not CASES, reason=f"{FILES} is absent")
@pytest.mark.parametrize("path", [path for path in CASES if "random" not in path.stem], ids=lambda path: path.stem)
def test_batches(path: Path) -> None:
    with np.load(path) as case:
        net = net_of(str(case["prototxt"]), getattr(caffe, json.loads(str(case["meta"]))["phase"]), f"{CONFORMANCE}/x")
        compared = 0
        while f"out@{compared}/label" in case:
            net.forward()
            for top in ("data", "label"):
                if f"out@{compared}/{top}" in case:
                    np.testing.assert_array_equal(net.blobs[top].data, case[f"out@{compared}/{top}"])
            compared += 1
        assert compared >= 3


MEMORY = (
    "layer { name: 'm' type: 'MemoryData' top: 'data' top: 'label'"
    " memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }"
    "layer { name: 'p' type: 'Power' bottom: 'data' top: 'out' power_param { shift: 1 } }"
)


def test_arrays_in_memory() -> None:
    net = net_of(MEMORY)
    data = np.arange(24, dtype="f4").reshape(4, 1, 2, 3)
    with pytest.raises(UserError, match="`m` has no data: give it some by set_input_arrays"):
        net.forward()
    net.set_input_arrays(data, np.arange(4, dtype="f4"))
    for batch in (0, 1, 0):  # they begin again at their end
        found = net.forward()
        np.testing.assert_array_equal(found["out"], data[2 * batch : 2 * batch + 2] + 1)
        np.testing.assert_array_equal(found["label"], [2 * batch, 2 * batch + 1])
    for wrong, message in (
        (data[:3], "whole 2s"),
        (data.astype("f8"), "float32"),
        (data[:, :, :1], r"records of 1 x 2 x 3"),
    ):
        with pytest.raises(UserError, match=message):
            net.set_input_arrays(np.ascontiguousarray(wrong), np.zeros(len(wrong), "f4"))
    with pytest.raises(UserError, match="first layer is a MemoryData"):
        net_of("layer { name: 'i' type: 'Input' top: 'x' input_param { shape { dim: 1 } } }").set_input_arrays(
            data, data
        )


def test_dummy_data() -> None:
    caffe.set_random_seed(5)
    text = (
        "layer { name: 'd' type: 'DummyData' top: 'a' top: 'b' dummy_data_param { shape { dim: 400 }"
        " data_filler { value: 3 } data_filler { type: 'gaussian' mean: 5 std: 0.5 } } }"
    )
    net = net_of(text)
    assert np.all(net.blobs["a"].data == 3)
    first = net.forward()["b"].copy()
    assert abs(first.mean() - 5) < 0.1
    assert 0.4 < first.std() < 0.6
    net.blobs["a"].data[...] = 7
    second = net.forward()
    assert np.all(second["a"] == 7)
    assert not np.array_equal(second["b"], first)
    caffe.set_random_seed(5)
    np.testing.assert_array_equal(net_of(text).forward()["b"], first)
    with pytest.raises(SourceErrors, match="2 shapes for 1 tops"):
        net_of(
            "layer { name: 'd' type: 'DummyData' top: 'a'"
            " dummy_data_param { shape { dim: 4 } shape { dim: 4 } data_filler { value: 3 } } }"
        )


def test_what_takes_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        "force_backward: true layer { name: 'i' type: 'Input' top: 'x' top: 'y'"
        " input_param { shape { dim: 2 dim: 3 } } }"
        "layer { name: 's' type: 'Power' bottom: 'x' top: 'z' }"
        "layer { name: 'q' type: 'Silence' bottom: 'z' }"
        "layer { name: 'o' type: 'HDF5Output' bottom: 'x' bottom: 'y' hdf5_output_param { file_name: 'out.h5' } }"
    )
    net = net_of(text)
    x, y = np.arange(6, dtype="f4").reshape(2, 3), np.ones((2, 3), "f4")
    assert net.forward(x=x, y=y) == {}
    h5py = pytest.importorskip("h5py")
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["data"], x)
        np.testing.assert_array_equal(file["label"], y)
    net.blobs["z"].diff[...] = 5
    net.backward()
    assert not net.blobs["z"].diff.any()


def test_filtered_items() -> None:
    """As many items as are chosen go on, whatever that does to the shapes behind."""
    text = (
        "force_backward: true layer { name: 'i' type: 'Input' top: 'x' top: 's'"
        " input_param { shape { dim: 4 dim: 2 } shape { dim: 4 } } }"
        "layer { name: 'f' type: 'Filter' bottom: 'x' bottom: 's' top: 'kept'"
        " propagate_down: true propagate_down: false }"
        "layer { name: 'p' type: 'Power' bottom: 'kept' top: 'out' power_param { scale: 2 } }"
    )
    net = net_of(text)
    x = np.arange(8, dtype="f4").reshape(4, 2)
    for selected in ([1, 0, 0, 1], [0, 1, 1, 1], [1, 0, 0, 1]):
        net.blobs["x"].data[...] = x
        net.blobs["s"].data[...] = selected
        np.testing.assert_array_equal(net.forward()["out"], 2 * x[np.array(selected) > 0])
    net.blobs["out"].diff[...] = 1
    net.backward()
    np.testing.assert_array_equal(net.blobs["x"].diff, np.array([[2, 2], [0, 0], [0, 0], [2, 2]], "f4"))
