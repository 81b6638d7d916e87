"""Pictures of nets: boxes keep apart, ways run down, and everything of the graph is there."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import pytest

import netc
from netc.compiler.build import build, load
from netc.report.drawing import Box, layer_boxes, svg
from netc.report.layered import layout

EXAMPLES = Path(__file__).parents[1] / "examples"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_box_of_a_layer_has_its_result_not_its_statistics() -> None:
    boxes, _ = drawn("resnet18")
    found = {box.type for box in boxes.values() if box.kind == "batch_norm"}
    assert found
    assert all(type_.startswith("f32[N,") for type_ in found)


def drawn(name: str) -> tuple[dict[str, Box], ElementTree.Element]:
    experiment = load(EXAMPLES / f"{name}.net")
    net = build(experiment, experiment.default_net(), mode="train", dims={"N": 2})
    boxes = layer_boxes(net.graph, {layer.name: layer.kind for layer in net.layers})
    return boxes, ElementTree.fromstring(svg(boxes, name))


@pytest.mark.parametrize("name", ["lenet", "googlenet", "resnet18"])
def test_boxes_do_not_overlap(name: str) -> None:
    boxes, picture = drawn(name)
    rects = [rect.attrib for rect in picture.iter(f"{SVG}rect") if "x" in rect.attrib]  # the background has none
    places = [tuple(float(rect[key]) for key in ("x", "y", "width", "height")) for rect in rects]
    assert len(places) == len(boxes)
    for (x, y, width, height), (u, v, other, _) in itertools.combinations(places, 2):
        assert y + height <= v or v + height <= y or x + width <= u or u + other <= x
    assert all(x >= 0 and x + width <= float(picture.attrib["width"]) for x, _, width, _ in places)


def test_lenet_is_a_chain_of_its_layers() -> None:
    boxes, picture = drawn("lenet")
    names = {box.name for box in boxes.values()}
    assert {"image", "label", "conv1", "conv2", "ip1", "score", "nll", "top1"} <= names
    texts = {text.text for text in picture.iter(f"{SVG}text")}
    assert "conv f32[N,20,24,24]" in texts
    score = next(key for key, box in boxes.items() if box.name == "score")
    assert len(boxes[score].before) == 1


def test_inception_joins_four_ways() -> None:
    boxes, _ = drawn("googlenet")
    join = next(box for box in boxes.values() if box.name == "inception_3a.concat")
    assert len(join.before) == 4


def test_text_is_escaped() -> None:
    picture = ElementTree.fromstring(svg({"a": Box('<&">', "conv", "f32[1]")}, "<t>"))
    assert '<&">' in {text.text for text in picture.iter(f"{SVG}text")}


def test_layout_of_a_diamond() -> None:
    plan = layout({"a": 10.0, "b": 30.0, "c": 20.0, "d": 10.0}, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], 5)
    assert plan.row == {"a": 0, "b": 1, "c": 1, "d": 2}
    assert abs(plan.x["b"] - plan.x["c"]) >= 30 / 2 + 20 / 2 + 5 - 1e-9
    assert plan.rows == 3


def test_layout_bends_a_long_edge_around_what_is_between() -> None:
    plan = layout({"a": 10.0, "b": 50.0, "c": 10.0}, [("a", "b"), ("b", "c"), ("a", "c")], 6)
    way = plan.ways["a", "c"]
    assert [row for _, row in way] == [0, 1, 2]
    assert abs(way[1][0] - plan.x["b"]) >= 25


def test_empty_layout() -> None:
    assert layout({}, [], 5).width == 0


@pytest.mark.parametrize("stage", ["graph", "fused"])
def test_the_pictures_of_the_readme_are_what_netc_draws(stage: str) -> None:
    exe = netc.compile(EXAMPLES / "lenet.net", dims={"N": 64}, outputs=["prob"], target="numpy", threads=1)
    kept = EXAMPLES.parent / f"docs/pictures/lenet-{stage}.svg"
    assert kept.read_text(encoding="utf-8") == exe.picture(stage)
