"""Layers in Python as pycaffe's own tests describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
from netc.grammar.source import UserError

Blobs = list[Any]


class Tenfold(caffe.Layer):
    def setup(self, bottom: Blobs, top: Blobs) -> None:
        assert self.param_str == "" or json.loads(self.param_str)
        self.factor = json.loads(self.param_str)["factor"] if self.param_str else 10

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top: Blobs, propagate_down: list[bool], bottom: Blobs) -> None:
        assert propagate_down == [True]
        bottom[0].diff[...] = self.factor * top[0].diff


class Failing(caffe.Layer):
    def setup(self, bottom: Blobs, top: Blobs) -> None:
        raise RuntimeError("of the layer itself")


class Learned(caffe.Layer):
    """A parameter that is its top."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        self.blobs.add_blob(2)
        self.blobs[0].data[...] = [3, 4]

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        top[0].reshape(2)

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].data[...] = self.blobs[0].data

    def backward(self, top: Blobs, propagate_down: list[bool], bottom: Blobs) -> None:
        self.blobs[0].diff[...] += top[0].diff


class Phase(caffe.Layer):
    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        top[0].reshape()

    def forward(self, bottom: Blobs, top: Blobs) -> None:
        top[0].data[()] = self.phase


INPUT = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 10 dim: 9 dim: 8 } } }\n"
PARAMETER = "power_param { scale: 0.5 }"


def python(name: str, bottom: str, layer: str, more: str = "") -> str:
    given = f"bottom: '{bottom}' " if bottom else ""
    settings = f"module: '{__name__}' layer: '{layer}' {more}"
    return f"layer {{ name: '{name}' type: 'Python' {given}top: '{name}' python_param {{ {settings} }} }}\n"


def net_of(folder: Path, text: str, phase: int = caffe.TRAIN, *weights: str) -> Any:
    path = folder / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), *weights, phase)


@pytest.fixture
def chain(tmp_path: Path) -> Any:
    half = "layer { name: 'two' type: 'Power' bottom: 'one' top: 'two' power_param { scale: 0.5 } }\n"
    text = python("one", "data", "Tenfold") + half + python("three", "two", "Tenfold", "param_str: '{\"factor\": 7}'")
    return net_of(tmp_path, "force_backward: true\n" + INPUT + text)


def test_forward_and_backward(chain: Any) -> None:
    chain.blobs["data"].data[...] = 8
    chain.forward()
    assert np.all(chain.blobs["three"].data == 8 * 10 * 0.5 * 7)
    chain.blobs["three"].diff[...] = 2
    chain.backward()
    assert np.all(chain.blobs["data"].diff == 2 * 7 * 0.5 * 10)
    assert [layer.type for layer in chain.layers] == ["Input", "Python", "Power", "Python"]


def test_shapes_follow_of_any_rank(chain: Any) -> None:
    chain.blobs["data"].reshape(4, 4, 4, 4)
    chain.blobs["data"].data[...] = 1
    chain.forward()  # reshapes by itself
    assert {blob.data.shape for blob in chain.blobs.values()} == {(4, 4, 4, 4)}
    assert np.all(chain.blobs["three"].data == 35)
    chain.blobs["data"].reshape(2)
    chain.reshape()
    assert {blob.shape for blob in chain.blobs.values()} == {(2,)}


def test_exceptions_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="of the layer itself"):
        net_of(tmp_path, INPUT + python("one", "data", "Failing"))
    with pytest.raises(ModuleNotFoundError):
        net_of(tmp_path, INPUT + python("one", "data", "Failing").replace(__name__, "no_such_module"))
    with pytest.raises(AttributeError, match="NoSuch"):
        net_of(tmp_path, INPUT + python("one", "data", "NoSuch"))
    with pytest.raises(UserError, match=r"Path is no class made of caffe\.Layer"):
        net_of(tmp_path, INPUT + python("one", "data", "Path"))


def test_blobs_of_a_layer_are_parameters(tmp_path: Path) -> None:
    loss = "layer { name: 'sum' type: 'Reduction' bottom: 'one' top: 'sum' loss_weight: 1 }\n"
    net = net_of(tmp_path, python("one", "", "Learned") + loss)
    held = net.params["one"][0].data
    assert held.tolist() == [3, 4]
    assert net.forward()["sum"] == 7
    net.backward()
    net.backward()
    assert net.params["one"][0].diff.tolist() == [2, 2]
    held[...] = [5, 6]
    assert net.forward()["sum"] == 11
    path = str(tmp_path / "w.caffemodel")
    net.save(path)
    other = net_of(tmp_path, python("one", "", "Learned") + loss, caffe.TEST, path)
    assert other.forward()["sum"] == 11
    third = net_of(tmp_path, python("one", "", "Learned") + loss, caffe.TEST)
    third.share_with(net)
    held[0] = 0
    assert third.forward()["sum"] == 6
    (tmp_path / "solver.prototxt").write_text(f"net: '{tmp_path}/net.prototxt' base_lr: 0.5 lr_policy: 'fixed'")
    solver = caffe.get_solver(tmp_path / "solver.prototxt")
    solver.step(2)
    assert solver.net.params["one"][0].data.tolist() == [2, 3]


def test_a_layer_knows_its_phase(tmp_path: Path) -> None:
    for phase in (caffe.TRAIN, caffe.TEST):
        assert net_of(tmp_path, python("phase", "", "Phase"), phase).forward()["phase"] == phase


def test_hooks_are_called_around_each_layer(chain: Any) -> None:
    seen: list[tuple[str, int]] = []
    chain.before_forward(lambda number: seen.append(("before", number)))
    chain.after_forward(lambda number: seen.append(("after", number)))
    chain.before_backward(lambda number: seen.append(("before back", number)))
    chain.after_backward(lambda number: seen.append(("after back", number)))
    chain.forward()
    assert seen == [(when, number) for number in range(4) for when in ("before", "after")]
    seen.clear()
    chain.after_forward(lambda number: chain.blobs["one"].data.fill(3) if number == 1 else None)
    assert np.all(chain.forward()["three"] == 3 * 0.5 * 7)  # what a hook writes, the next layer reads
    seen.clear()
    chain.backward()
    assert seen == [(when, number) for number in (3, 2, 1, 0) for when in ("before back", "after back")]
