"""Drawings of nets: layers and blobs, labels, phases, names that mean something to Graphviz, and every net there is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import PIL.Image
import pydot
import pytest
from google.protobuf import text_format

from netc.caffe import draw
from netc.caffe.net_spec import NetSpec, layers, params
from netc.caffe.proto import caffe_pb2
from netc.grammar.source import UserError


def spec() -> Any:
    n = NetSpec()
    n.data, n.label = layers.Data(ntop=2, source="x", batch_size=64, include={"phase": caffe_pb2.TRAIN})
    n.conv = layers.Convolution(n.data, num_output=20, kernel_size=5, pad=2, param=[{"lr_mult": 1}, {"lr_mult": 2}])
    n.pool = layers.Pooling(n.conv, pool=params.Pooling.AVE, kernel_size=3, stride=2)
    n.relu = layers.ReLU(n.pool, in_place=True)
    n.ip = layers.InnerProduct(n.relu, num_output=10, exclude={"phase": caffe_pb2.TEST})
    return n.to_proto()


def nodes(graph: Any) -> dict[str, dict[str, str]]:
    return {node.get_name().strip('"'): node.get_attributes() for node in graph.get_nodes()}


def edges(graph: Any) -> set[tuple[str, str]]:
    return {(edge.get_source().strip('"'), edge.get_destination().strip('"')) for edge in graph.get_edges()}


def test_layers_and_blobs_are_nodes() -> None:
    graph = draw.get_pydot_graph(spec(), "LR")
    found = nodes(graph)
    assert set(found) == {
        *("data_Data", "conv_Convolution", "pool_Pooling", "relu_ReLU", "ip_InnerProduct"),
        *("data_blob", "label_blob", "conv_blob", "pool_blob", "ip_blob"),
    }
    assert found["conv_Convolution"]["label"] == r'"conv\n(Convolution)\nkernel size: 5\nstride: 1\npad: 2"'
    assert found["pool_Pooling"]["label"] == r'"pool\n(AVE Pooling)\nkernel size: 3\nstride: 2\npad: 0"'
    assert found["relu_ReLU"]["fillcolor"].strip('"') == "#90EE90"
    assert found["conv_blob"]["shape"] == "octagon"
    assert {("pool_blob", "relu_ReLU"), ("relu_ReLU", "pool_blob"), ("data_blob", "conv_Convolution")} <= edges(graph)
    labels = {edge.get_source().strip('"'): edge.get_attributes()["label"] for edge in graph.get_edges()}
    assert labels["data_Data"] == '"Batch 64"'
    assert labels["ip_InnerProduct"] == '"10"'
    bare = draw.get_pydot_graph(spec(), "LR", label_edges=False)
    assert {edge.get_attributes()["label"] for edge in bare.get_edges()} == {'""'}


def test_one_phase() -> None:
    assert "ip_InnerProduct" not in nodes(draw.get_pydot_graph(spec(), "TB", phase=caffe_pb2.TEST))
    assert "data_Data" not in nodes(draw.get_pydot_graph(spec(), "TB", phase=caffe_pb2.TEST))
    both = spec()
    both.layer[0].exclude.add(phase=caffe_pb2.TEST)
    with pytest.raises(ValueError, match="both include and exclude"):
        draw.get_pydot_graph(both, "LR", phase=caffe_pb2.TRAIN)


def test_learning_rates_and_lines_beside_each_other() -> None:
    layer = spec().layer[1]
    assert draw.get_layer_label(layer, "TB", display_lrm=True).endswith("pad: 2 lr mult: 1, 2")
    assert draw.get_layer_label(layer, "LR", display_lrm=True).splitlines()[-1] == "lr mult: 1, 2"
    assert draw.get_layer_lr_mult(spec().layer[3]) == []
    assert draw.get_layer_lr_mult(spec().layer[4]) == [1]


def test_names_are_quoted() -> None:
    net = caffe_pb2.NetParameter()
    net.layer.add(name='a"{b}|\\', type="X", top=["t<1>;\n"])
    text = draw.draw_net(net, "LR", ext="dot").decode()
    (graph,) = pydot.graph_from_dot_data(text) or []
    (layer,) = [node for node in graph.get_nodes() if node.get_attributes().get("shape") == "record"]
    assert layer.get_attributes()["label"] == r'"a\"\{b\}\|\\\n(X)"'
    assert len(graph.get_edges()) == 1


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    draw.draw_net_to_file(spec(), str(tmp_path / "a.svg"))
    picture = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = [text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"data", "label", "conv", "pool", "relu", "ip"} <= set(texts)
    assert "Convolution kernel size: 5, stride: 1, pad: 2" in texts
    draw.draw_net_to_file(spec(), str(tmp_path / "a.dot"), rankdir="TB")
    assert "rankdir=TB" in (tmp_path / "a.dot").read_text()
    assert draw._boxes(spec(), None, False)["pool_blob"].before == {"pool_Pooling": None}  # not the ReLU in its place
    draw.draw_net_to_file(spec(), str(tmp_path / "a.png"))
    with PIL.Image.open(tmp_path / "a.png") as pixels:
        assert pixels.format == "PNG"
        wide, high = (float(picture.attrib[side]) for side in ("width", "height"))
        assert pixels.size == pytest.approx((wide, high), abs=1)
        colours = {colour for _, colour in pixels.convert("RGB").getcolors(1 << 20) or []}
    assert {(0xCF, 0xE3, 0xF7), (0xEE, 0xEE, 0xEE), (255, 255, 255)} <= colours  # a convolution, a blob, nothing
    assert draw.draw_net(spec(), "LR", ext="pdf").startswith(b"%PDF")
    with pytest.raises(UserError, match="Graphviz"):
        draw.draw_net_to_file(spec(), str(tmp_path / "a.xdot"))
    assert not (tmp_path / "a.xdot").exists()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is absent")
def test_graphviz_reads_it() -> None:
    assert draw.draw_net(spec(), "LR").startswith(b"\x89PNG")


def test_every_net_is_drawn(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pycaffe's own test does with its models; here with strangers' nets."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    drawn = 0
    for path in sorted((shared / "data" / "models").glob("*/*.prototxt")):
        net = caffe_pb2.NetParameter()
        if "solver" in path.name:
            continue
        text_format.Merge(path.read_text(), net)
        texts = draw.draw_net(net, "LR", ext="dot"), draw.draw_net(net, "LR", ext="svg")
        assert all(f'"{layer.name}_{layer.type}"'.encode() in texts[0] for layer in net.layer)
        drawn += 1
    assert drawn > 5
