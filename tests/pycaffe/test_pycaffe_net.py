"""`caffe.Net` as pycaffe's own tests describe it: tables, passes over parts, files, phases, levels, stages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
from netc.grammar.source import SourceErrors, UserError
from netc.runtime.triton.run.opening import driver_present
from support.caffe.pycaffe import SMALL

Net = Any


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.prototxt"
    path.write_text(SMALL)
    return path


@pytest.fixture
def net(small: Path) -> Net:
    found = caffe.Net(str(small), caffe.TRAIN)
    found.blobs["label"].data[...] = np.random.default_rng(0).integers(13, size=found.blobs["label"].data.shape)
    return found


def test_blobs_outlive_their_net(net: Net) -> None:
    params = [blob for layer in net.params.values() for blob in layer]
    blobs = [*net.blobs.values()]
    del net
    assert np.isfinite(sum(float(blob.data.sum() + blob.diff.sum()) for blob in (*params, *blobs)))


def test_tables(net: Net) -> None:
    assert list(net.layer_dict) == net._layer_names
    assert list(net.layer_dict.values()) == net.layers
    assert [layer.type for layer in net.layers] == ["DummyData", "Convolution", "InnerProduct", "SoftmaxWithLoss"]
    tops = {"data": ["data", "label"], "conv": ["conv"], "ip": ["ip_blob"], "loss": ["loss"]}
    bottoms = {"data": [], "conv": ["data"], "ip": ["conv"], "loss": ["ip_blob", "label"]}
    assert dict(net.top_names) == tops
    assert dict(net.bottom_names) == bottoms
    assert (net.inputs, net.outputs) == ([], ["loss"])
    assert list(net.blobs) == ["data", "label", "conv", "ip_blob", "loss"]
    assert {name: [blob.shape for blob in blobs] for name, blobs in net.params.items()} == {
        "conv": [(11, 2, 2, 2), (11,)],
        "ip": [(13, 11 * 8 * 9), (13,)],
    }
    assert [net._blobs[i].shape for i in (*net._inputs, *net._outputs)] == [()]
    assert [net._blob_names[i] for number in range(4) for i in net._bottom_ids(number)] == [
        name for names in bottoms.values() for name in names
    ]
    assert net._top_ids(0) == [0, 1]
    assert net._blob_loss_weights == [0, 0, 0, 0, 1]
    assert net.blob_loss_weights == {"data": 0, "label": 0, "conv": 0, "ip_blob": 0, "loss": 1}
    conv = net.blobs["conv"]
    assert (conv.num, conv.channels, conv.height, conv.width, conv.count) == (5, 11, 8, 9, 5 * 11 * 72)


def test_forward_and_backward(net: Net) -> None:
    assert set(net.forward()) == {"loss"}
    assert net.backward() == {}
    assert all(np.abs(blob.diff).sum() > 0 for blobs in net.params.values() for blob in blobs)


def test_a_part_runs_on_what_stands_in_its_blobs(net: Net) -> None:
    conv = net.blobs["conv"]
    conv.data[...] = np.random.default_rng(1).standard_normal(conv.data.shape)
    kept = conv.data.copy()
    found = net.forward(start="ip", end="ip")
    assert set(found) == {"ip_blob"}
    weight, bias = (blob.data for blob in net.params["ip"])
    np.testing.assert_allclose(found["ip_blob"], kept.reshape(5, -1) @ weight.T + bias, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(conv.data, kept)
    with pytest.raises(ValueError, match="no layer 'ipp'"):
        net.forward(start="ipp")


def test_a_part_runs_back_from_what_stands_in_its_diffs(net: Net) -> None:
    net.forward()
    top = np.random.default_rng(2).standard_normal(net.blobs["ip_blob"].shape).astype("f4")
    net.blobs["ip_blob"].diff[...] = top
    found = net.backward(start="ip", end="ip")
    weight = net.params["ip"][0]
    np.testing.assert_allclose(found["conv"].reshape(5, -1), top @ weight.data, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(weight.diff, top.T @ net.blobs["conv"].data.reshape(5, -1), rtol=1e-4, atol=1e-3)
    assert not net.params["conv"][0].diff.any()


def test_diffs_of_parameters_add_up_until_they_are_cleared(net: Net) -> None:
    held = net.params["conv"][0].diff
    net.forward()
    net.backward()
    once = held.copy()
    net.backward()
    np.testing.assert_allclose(held, 2 * once, rtol=1e-4, atol=1e-4)
    net.clear_param_diffs()
    assert once.any()
    assert not held.any()


def test_inputs_are_set_by_name(tmp_path: Path) -> None:
    path = tmp_path / "input.prototxt"
    path.write_text(
        "layer { name: 'a' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 3 } } }\n"
        "layer { name: 'b' type: 'Power' bottom: 'x' top: 'y' power_param { scale: 2 } }"
    )
    net = caffe.Net(str(path), caffe.TEST)
    x = np.arange(6, dtype="f4").reshape(2, 3)
    np.testing.assert_array_equal(net.forward(x=x)["y"], 2 * x)
    assert list(net.forward(blobs=["x"], x=x)) == ["y", "x"]
    with pytest.raises(Exception, match="the net takes all of x"):
        net.forward(z=x)
    with pytest.raises(Exception, match="records"):
        net.forward(x=np.zeros((3, 3)))
    many = np.arange(15, dtype="f4").reshape(5, 3)
    np.testing.assert_array_equal(net.forward_all(x=many)["y"], 2 * many)
    made, back = net.forward_backward_all(x=many, y=np.ones_like(many))
    np.testing.assert_array_equal(made["y"], 2 * many)
    assert back["x"].shape == (5, 3)


@pytest.mark.parametrize("hdf5", [False, True])
def test_weights_in_files(net: Net, small: Path, tmp_path: Path, hdf5: bool) -> None:
    path = str(tmp_path / ("w.caffemodel.h5" if hdf5 else "w.caffemodel"))
    (net.save_hdf5 if hdf5 else net.save)(path)
    for other in (
        caffe.Net(str(small), path, caffe.TEST),
        caffe.Net(str(small), caffe.TEST, weights=path),
        caffe.Net(network_file=str(small), phase=caffe.TEST, weights=path),
    ):
        for name, blobs in net.params.items():
            for mine, theirs in zip(blobs, other.params[name], strict=True):
                np.testing.assert_array_equal(mine.data, theirs.data)
    other.params["ip"][1].data[...] = 0
    (other.load_hdf5 if hdf5 else other.copy_from)(path)
    np.testing.assert_array_equal(other.params["ip"][1].data, net.params["ip"][1].data)


def test_weights_that_do_not_fit_are_refused_whole(net: Net, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.caffemodel"
    net.save(path)
    small.write_text(SMALL.replace("num_output: 13", "num_output: 12"))
    other = caffe.Net(small, caffe.TEST)
    before = other.params["conv"][0].data.copy()
    with pytest.raises(UserError, match=r"blob 0 of the layer `ip`; shape mismatch: \[13, 792\] in the file"):
        other.copy_from(path)
    np.testing.assert_array_equal(other.params["conv"][0].data, before)
    small.write_text(SMALL.replace("name: 'ip'", "name: 'mine'"))
    caffe.Net(small, caffe.TEST).copy_from(path)
    with pytest.raises(RuntimeError, match="Could not open file"):
        net.copy_from(tmp_path / "none.caffemodel")


def test_shared_parameters_are_one_memory(net: Net, small: Path) -> None:
    other = caffe.Net(small, caffe.TEST)
    other.share_with(net)
    for name, blobs in net.params.items():
        for mine, theirs in zip(blobs, other.params[name], strict=True):
            assert np.shares_memory(mine.data, theirs.data)
            assert not np.shares_memory(mine.diff, theirs.diff)
    for _ in range(5):  # past the passes that keep everything
        other.forward()
    conv = other.blobs["conv"].data
    before = conv.copy()
    net.params["conv"][1].data[...] += 1
    other.blobs["data"].data[...] = other.blobs["data"].data
    other.forward(start="conv")
    np.testing.assert_allclose(conv, before + 1, rtol=1e-4, atol=1e-4)


def test_parameters_by_name_are_one_memory(tmp_path: Path) -> None:
    path = tmp_path / "siamese.prototxt"
    ip = "layer { name: '%s' type: 'InnerProduct' bottom: 'x' top: '%s' param { name: 'w' } param { name: 'b' } %s }"
    fill = "inner_product_param { num_output: 2 weight_filler { type: 'xavier' } }"
    path.write_text(
        "force_backward: true\n"
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 4 dim: 3 } } }\n"
        + "\n".join(ip % (name, name, fill) for name in ("a", "b"))
    )
    net = caffe.Net(path, caffe.TRAIN)
    assert np.shares_memory(net.params["a"][0].data, net.params["b"][0].data)
    assert np.shares_memory(net.params["a"][0].diff, net.params["b"][0].diff)
    net.blobs["x"].data[...] = 1
    net.forward()
    net.blobs["a"].diff[...] = 1
    net.blobs["b"].diff[...] = 2
    net.backward()
    np.testing.assert_array_equal(net.params["a"][0].diff, np.full((2, 3), 12.0))


def test_a_blob_of_several_readers_has_copies(tmp_path: Path) -> None:
    path = tmp_path / "copies.prototxt"
    path.write_text(
        "force_backward: true\n"
        "layer { name: 'in' type: 'Input' top: 'x' input_param { shape { dim: 2 } } }\n"
        "layer { name: 'a' type: 'Power' bottom: 'x' top: 'a' power_param { scale: 2 } }\n"
        "layer { name: 'b' type: 'Eltwise' bottom: 'x' bottom: 'a' bottom: 'x' top: 'b' }"
    )
    net = caffe.Net(path, caffe.TEST)
    copies = [f"x_in_0_split_{i}" for i in range(3)]
    assert list(net.blobs) == ["x", *copies, "a", "b"]
    assert net._layer_names[1] == "x_in_0_split"
    assert net.layers[1].type == "Split"
    net.blobs["x"].data[...] = [1, 2]
    np.testing.assert_array_equal(net.blobs[copies[1]].data, [1, 2])  # one memory, as in Caffe
    np.testing.assert_array_equal(net.forward()["b"], [4, 8])
    net.blobs["b"].diff[...] = [1, 10]
    np.testing.assert_array_equal(net.backward()["x"], [4, 40])
    assert [net.blobs[copy].diff.tolist() for copy in copies] == [[2, 20], [1, 10], [1, 10]]


LEVELS = """
layer { name: 'data' type: 'DummyData' top: 'data' dummy_data_param { shape { dim: 1 dim: 2 } } }
layer { name: 'none' type: 'InnerProduct' bottom: 'data' top: 'none' inner_product_param { num_output: 1 } }
layer { name: 'zero' type: 'InnerProduct' bottom: 'data' top: 'Level>=0' include { min_level: 0 }
        inner_product_param { num_output: 1 } }
layer { name: 'one' type: 'InnerProduct' bottom: 'data' top: 'Level>=1' include { min_level: 1 }
        inner_product_param { num_output: 1 } }
layer { name: 'a' type: 'InnerProduct' bottom: 'data' top: 'A' include { stage: 'A' }
        inner_product_param { num_output: 1 } }
layer { name: 'ab' type: 'InnerProduct' bottom: 'data' top: 'AandB' include { stage: 'A' stage: 'B' }
        inner_product_param { num_output: 1 } }
"""


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, ["none", "Level>=0"]),
        ({"level": 1}, ["none", "Level>=0", "Level>=1"]),
        ({"stages": ["A"]}, ["none", "Level>=0", "A"]),
        ({"stages": ["B"]}, ["none", "Level>=0"]),
        ({"stages": ["A", "B"], "level": 1}, ["none", "Level>=0", "Level>=1", "A", "AandB"]),
    ],
)
def test_levels_and_stages_choose_layers(tmp_path: Path, given: dict[str, Any], made: list[str]) -> None:
    path = tmp_path / "levels.prototxt"
    path.write_text(LEVELS)
    net = caffe.Net(str(path), caffe.TEST, **given)
    assert [name for name in net.blobs if "data" not in name] == made
    assert set(net.forward()) == set(made)
    assert net.outputs == sorted(made)


ALL_IN_ONE = """
layer { name: 'train_data' type: 'DummyData' top: 'data' top: 'label' include { phase: TRAIN stage: 'train' }
        dummy_data_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } shape { dim: 1 dim: 1 dim: 1 dim: 1 } } }
layer { name: 'val_data' type: 'DummyData' top: 'data' top: 'label' include { phase: TEST stage: 'val' }
        dummy_data_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } shape { dim: 1 dim: 1 dim: 1 dim: 1 } } }
layer { name: 'deploy_data' type: 'Input' top: 'data' include { phase: TEST stage: 'deploy' }
        input_param { shape { dim: 1 dim: 1 dim: 10 dim: 10 } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip' inner_product_param { num_output: 2 } }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss'
        include { phase: TRAIN stage: 'train' } include { phase: TEST stage: 'val' } }
layer { name: 'pred' type: 'Softmax' bottom: 'ip' top: 'pred' include { phase: TEST stage: 'deploy' } }
"""


@pytest.mark.parametrize(
    ("phase", "stage", "inputs", "outputs"),
    [(0, "train", [], ["loss"]), (1, "val", [], ["loss"]), (1, "deploy", ["data"], ["pred"])],
)
def test_a_net_for_training_validation_and_use(
    tmp_path: Path, phase: int, stage: str, inputs: list[str], outputs: list[str]
) -> None:
    path = tmp_path / "all.prototxt"
    path.write_text(ALL_IN_ONE)
    net = caffe.Net(str(path), phase, stages=[stage])
    assert (net.inputs, net.outputs, net._layer_names[0]) == (inputs, outputs, f"{stage}_data")
    assert list(net.forward()) == outputs


def test_mistakes(tmp_path: Path, small: Path) -> None:
    with pytest.raises(RuntimeError, match="Could not open file"):
        caffe.Net(str(tmp_path / "none.prototxt"), caffe.TEST)
    with pytest.raises(UserError, match=r"caffe\.TRAIN or caffe\.TEST"):
        caffe.Net(str(small))
    small.write_text(SMALL.replace("bottom: 'conv'", "bottom: 'con'"))
    with pytest.raises(SourceErrors, match="makes the blob `con`") as found:
        caffe.Net(str(small), caffe.TEST)
    assert found.value.errors[0].span.line == SMALL[: SMALL.index("bottom: 'conv'")].count("\n") + 1
    small.write_text(SMALL.replace("'InnerProduct'", "'InnerProdukt'"))
    with pytest.raises(SourceErrors, match="InnerProduct"):
        caffe.Net(str(small), caffe.TEST)
    small.write_text(SMALL.replace("ip_blob", "conv").replace("bottom: 'conv' top", "bottom: 'data' top"))
    with pytest.raises(SourceErrors, match="made twice"):
        caffe.Net(str(small), caffe.TEST)


INPUT = "layer { name: 'i' type: 'Input' top: 'x' input_param { shape { dim: 10 dim: 10 } } }"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer { name: 'i' type: 'Input' top: 'x' }", "Input: `shape` is missing"),
        ("layer { name: 'i' type: 'Python' top: 'x' }", "Python: `module` is missing"),
        ("layer { name: 'i' type: 'Data' top: 'x' }", "Data: `source` is missing"),
        ("layer { name: 'i' type: 'Data' }", "Data: it takes 1 or more tops, 0 are given"),
        ("layer { name: 'i' type: 'Silence' }", "Silence: it takes 1 or more bottoms, 0 are given"),
        (INPUT + "layer { name: 'o' type: 'HDF5Output' bottom: 'x' }", "HDF5Output: it takes 2 bottoms, 1 are given"),
        (
            INPUT + "layer { name: 'r' type: 'Reshape' bottom: 'x' top: 'x' reshape_param { shape { dim: 100 } } }",
            "Reshape: it cannot give `x` another shape in its place",
        ),
        ("layer { name: 'f' type: 'Flatten' top: 'y' }", "Flatten: it takes 1 bottoms, 0 are given"),
        (INPUT + "layer { name: 'c' type: 'Concat' top: 'y' }", "Concat: it takes 1 or more bottoms"),
        (
            INPUT + "layer { name: 'b' type: 'Tile' bottom: 'x' top: 'y' tile_param { tiles: 1000000000 } }",
            "the result of `tile` has 100,000,000,000 elements",
        ),
        (
            "layer { name: 'd' type: 'DummyData' top: 'x' dummy_data_param { shape { dim: 60000 dim: 60000 } } }",
            "a blob has at most 32 axes",
        ),
        (INPUT.replace("dim: 10 dim", "dim: 2147483647 dim: 0 dim"), "a dimension is 1 or more"),
        (
            INPUT + "layer { name: 'p' type: 'Power' bottom: 'x' top: 'y' loss_weight: [1, 2] }",
            "2 `loss_weight`s for 1",
        ),
    ],
)
def test_texts_that_cannot_be_nets(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.prototxt"
    path.write_text(text + "layer { name: 'last' type: 'Power' bottom: 'x' top: 'z' }" if "dim: 0" in text else text)
    with pytest.raises((SourceErrors, UserError), match=re.escape(message)):
        caffe.Net(path, caffe.TEST)


def test_what_this_machine_cannot_hold_is_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.caffe.blob.memory_limit", lambda: 1 << 27)
    small.write_text(SMALL.replace("num: 5 channels: 2", "num: 50000 channels: 200"))
    with pytest.raises(UserError, match="more than this machine can hold"):
        caffe.Net(small, caffe.TEST)


def test_a_net_without_layers(tmp_path: Path) -> None:
    path = tmp_path / "empty.prototxt"
    path.write_text("name: 'empty'")
    net = caffe.Net(path, caffe.TEST)
    assert (net.forward(), net.backward(), list(net.blobs), net.outputs) == ({}, {}, [], [])


def test_the_process() -> None:
    caffe.set_mode_cpu()
    caffe.set_device(0)
    caffe.set_multiprocess(True)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    assert (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    for call, value, message in (
        (caffe.set_device, 1, "CUDA_VISIBLE_DEVICES=1"),
        (caffe.set_solver_count, 2, "2 solvers cannot share a net"),
        (caffe.set_solver_rank, 1, "there is one solver"),
    ):
        with pytest.raises(UserError, match=message):
            call(value)


def test_the_log_is_caffes_and_can_be_silenced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caffe.log("one")
    monkeypatch.setenv("GLOG_minloglevel", "2")
    caffe.log("two")
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+\] one\n", capsys.readouterr().err)


@pytest.mark.skipif(driver_present(), reason="there is a GPU")
def test_without_a_gpu_its_mode_is_refused(small: Path) -> None:
    with pytest.raises(UserError, match="GPU"):
        caffe.set_mode_gpu()
    caffe.Net(small, caffe.TEST).forward()  # as before


def test_types_and_constants() -> None:
    types = caffe.layer_type_list()
    assert {"Convolution", "Data", "Python", "SoftmaxWithLoss"} <= set(types)
    assert types == sorted(types)
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert caffe.has_nccl() is False
    assert {"Net", "Layer", "set_mode_cpu"} <= set(dir(caffe))
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert 0 <= timer.ms < 1000
    with pytest.raises(AttributeError, match="no attribute 'Nett'"):
        _ = caffe.Nett
