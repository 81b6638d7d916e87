"""Nets as Python calls: the layers, names and messages that pycaffe makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from netc.caffe.net_spec import NetSpec, assign_proto, layers, param_name_dict, params, to_proto
from netc.caffe.proto import caffe_pb2
from netc.compiler.build import build, load
from netc.grammar.source import Source

LAYERS = ("conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2")
XAVIER = {"type": "xavier"}


def digits(batch: int) -> tuple[Any, Any]:
    shapes = [{"dim": [batch, 1, 28, 28]}, {"dim": [batch, 1, 1, 1]}]
    data, label = layers.DummyData(shape=shapes, transform_param={"scale": 1 / 255}, ntop=2)
    return data, label


def lenet(batch: int) -> NetSpec:
    n = NetSpec()
    n.data, n.label = digits(batch)
    n.conv1 = layers.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=XAVIER)
    n.pool1 = layers.Pooling(n.conv1, kernel_size=2, stride=2, pool=params.Pooling.MAX)
    n.conv2 = layers.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=XAVIER)
    n.pool2 = layers.Pooling(n.conv2, kernel_size=2, stride=2, pool=params.Pooling.AVE)
    n.ip1 = layers.InnerProduct(n.pool2, num_output=500, weight_filler=XAVIER, param=[{"lr_mult": 1}, {"lr_mult": 2}])
    n.relu1 = layers.ReLU(n.ip1, in_place=True)
    n.ip2 = layers.InnerProduct(n.relu1, num_output=10, weight_filler=XAVIER)
    n.loss = layers.SoftmaxWithLoss(n.ip2, n.label)
    return n


def test_a_net_of_named_tops() -> None:
    net = lenet(50).to_proto()
    assert [layer.name for layer in net.layer] == ["data", *LAYERS, "loss"]
    assert list(net.layer[0].top) == ["data", "label"]
    assert list(net.layer[0].dummy_data_param.shape[1].dim) == [50, 1, 1, 1]
    assert net.layer[0].transform_param.scale == pytest.approx(1 / 255)
    assert list(net.layer[1].convolution_param.kernel_size) == [5]
    assert net.layer[4].pooling_param.pool == caffe_pb2.PoolingParameter.AVE
    assert [spec.lr_mult for spec in net.layer[5].param] == [1, 2]
    assert net.layer[6].top == net.layer[6].bottom == ["ip1"]
    assert list(net.layer[7].bottom) == ["ip1"]
    assert list(net.layer[8].bottom) == ["ip2", "label"]


def test_the_text_of_a_net_is_built_by_netc() -> None:
    experiment = load(Source("lenet.prototxt", str(lenet(5).to_proto())))
    net = build(experiment, experiment.default_net(), mode="train")
    assert [info.name for info in net.state if info.name.startswith("ip1")] == ["ip1.weight", "ip1.bias"]
    assert tuple(net.named["ip2"].shape) == (5, 10)


def test_names_that_are_not_given_are_types_with_numbers() -> None:
    data, label = digits(3)
    conv = layers.Convolution(data, kernel_size=5, num_output=20)
    ip = layers.InnerProduct(layers.ReLU(conv, in_place=True), num_output=10)
    net = layers.SoftmaxWithLoss(ip, label).to_proto()
    assert [(layer.name, list(layer.top)) for layer in net.layer] == [
        ("DummyData1", ["DummyData1", "DummyData2"]),
        ("Convolution1", ["Convolution1"]),
        # The layer has a name by its top, which is named as its bottom: it has a number of its own.
        ("ReLU1", ["Convolution1"]),
        ("InnerProduct1", ["InnerProduct1"]),
        ("SoftmaxWithLoss1", ["SoftmaxWithLoss1"]),
    ]
    two = to_proto(layers.Power(ip), layers.Power(ip))
    assert [layer.name for layer in two.layer][-2:] == ["Power1", "Power2"]
    assert len(two.layer) == 6


def test_a_name_among_the_settings() -> None:
    net = layers.Input(shape={"dim": [1, 2]}, name="in").to_proto()
    assert (net.layer[0].name, net.layer[0].top[0]) == ("in", "Input1")


def test_layers_without_tops() -> None:
    n = NetSpec()
    n.data, n.data2 = layers.DummyData(shape={"dim": 3}, ntop=2)
    n.silence = layers.Silence(n.data, ntop=0)
    n["silence2"] = layers.Silence(n["data2"], ntop=0)
    net = n.to_proto()
    assert [(layer.name, list(layer.top)) for layer in net.layer[1:]] == [("silence", []), ("silence2", [])]
    assert n.keys() == ["data", "data2", "silence", "silence2"]
    assert n.vals()[2] is n.silence


def test_settings_go_to_the_layers_own_message_or_to_the_layer() -> None:
    n = NetSpec()
    n.x = layers.Input(input_param={"shape": {"dim": [1, 3, 8, 8]}})
    n.up = layers.Deconvolution(n.x, convolution_param={"num_output": 2, "kernel_size": 4})
    n.host = layers.Python(n.x, module="m", layer="L", loss_weight=2, include={"phase": caffe_pb2.TEST})
    n.drop = layers.Dropout(n.x, include=[{"stage": ["a", "b"]}, {"phase": 0}], propagate_down=[False])
    x, up, host, drop = n.to_proto().layer
    assert list(x.input_param.shape[0].dim) == [1, 3, 8, 8]
    assert (up.convolution_param.num_output, list(up.convolution_param.kernel_size)) == (2, [4])
    assert (host.python_param.module, host.python_param.layer, list(host.loss_weight)) == ("m", "L", [2])
    assert host.include[0].phase == caffe_pb2.TEST
    assert list(drop.include[0].stage) == ["a", "b"]
    assert drop.include[1].phase == caffe_pb2.TRAIN
    n.update("drop", {"dropout_ratio": 0.25})
    assert n.to_proto().layer[3].dropout_param.dropout_ratio == 0.25


def test_inputs_must_be_tops() -> None:
    data = layers.DummyData(ntop=2)
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        layers.Silence(data, ntop=0)
    layers.Silence(*data, ntop=0)
    n = NetSpec()
    with pytest.raises(TypeError, match="data is not a Top"):
        n.data = data
    with pytest.raises(AttributeError, match="no top named 'conv'"):
        _ = n.conv
    with pytest.raises(KeyError):
        _ = n["conv"]


@pytest.mark.parametrize(
    ("settings", "error"),
    [({"kernel": 3}, AttributeError), ({"num_output": "x"}, TypeError), ({"bias_filler": {"kind": 1}}, AttributeError)],
)
def test_what_a_message_does_not_take(settings: dict[str, Any], error: type[Exception]) -> None:
    top = layers.Convolution(layers.Input(), **settings)
    with pytest.raises(error):
        top.to_proto()


def test_values_become_fields() -> None:
    layer = caffe_pb2.LayerParameter()
    assign_proto(layer, "top", "a")
    assign_proto(layer, "bottom", ("b", "c"))
    assign_proto(layer, "param", {"lr_mult": 3})
    assign_proto(layer, "concat_param", {"axis": 2})
    assign_proto(layer, "relu_param", {})
    assign_proto(layer, "propagate_down", [])
    want = 'bottom: "b" bottom: "c" top: "a" param { lr_mult: 3 } concat_param { axis: 2 } relu_param { }'
    assert layer == text_format.Parse(want, caffe_pb2.LayerParameter())


def test_every_type_finds_its_message() -> None:
    names = param_name_dict()
    assert {type_: names[type_] for type_ in ("Convolution", "HDF5Data", "PReLU", "InnerProduct")} == {
        "Convolution": "convolution",
        "HDF5Data": "hdf5_data",
        "PReLU": "prelu",
        "InnerProduct": "inner_product",
    }


def test_a_deep_net_does_not_end_the_stack() -> None:
    top = layers.Input(shape={"dim": 1})
    for _ in range(5000):
        top = layers.Power(top)
    net = top.to_proto()
    assert len(net.layer) == 5001
    assert net.layer[-1].name == "Power5000"
