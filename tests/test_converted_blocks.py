"""Blocks in what `netc convert` writes: repeated structure found, names of layers kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from netc import conversion
from netc.compiler.build import build, load
from netc.compiler.caffe.blocks import LARGEST
from netc.conversion import Converted, convert
from netc.grammar.parse import read_source
from netc.grammar.source import Source, SourceErrors
from netc.grammar.unparse import unparse
from support.caffe import CONFORMANCE

SHARED = CONFORMANCE.parent / "data"
STRANGERS = sorted((SHARED / "prototxt").glob("*.prototxt"))
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Caffe:
    """A prototxt, layer by layer."""

    def __init__(self, title: str, channels: int, side: int) -> None:
        shape = f"input_param {{ shape {{ dim: [2, {channels}, {side}, {side}] }} }}"
        self.text = f'name: "{title}"\nlayer {{ name: "data" type: "Input" top: "data" {shape} }}\n'

    def layer(self, name: str, kind: str, bottoms: str | Sequence[str], settings: str = "", top: str = "") -> str:
        texts = [bottoms] if isinstance(bottoms, str) else bottoms
        ins = " ".join(f'bottom: "{one}"' for one in texts)
        self.text += f'layer {{ name: "{name}" type: "{kind}" {ins} top: "{top or name}" {settings} }}\n'
        return top or name

    def conv(self, name: str, bottom: str, out: int, kernel: int = 1, more: str = "", *, relu: bool = True) -> str:
        settings = f"convolution_param {{ num_output: {out} kernel_size: {kernel} {more} }}"
        self.layer(name, "Convolution", bottom, settings)
        return self.layer(f"{name}/relu", "ReLU", name, top=name) if relu else name

    def pool(self, name: str, bottom: str, more: str) -> str:
        return self.layer(name, "Pooling", bottom, f"pooling_param {{ pool: MAX kernel_size: 3 {more} }}")


def googlenet() -> str:
    """GoogLeNet to deploy, as BVLC names it."""
    net = Caffe("GoogleNet", 3, 224)
    x = net.pool("pool1", net.conv("conv1/7x7_s2", "data", 64, 7, "stride: 2 pad: 3"), "stride: 2")
    x = net.conv("conv2/3x3", net.conv("conv2/3x3_reduce", x, 64), 192, 3, "pad: 1")
    for name, (one, reduce3, three, reduce5, five, pooled) in INCEPTIONS.items():
        if name in ("3a", "4a", "5a"):
            x = net.pool(f"pool{name}", x, "stride: 2")
        use = f"inception_{name}"
        parts = [
            net.conv(f"{use}/1x1", x, one),
            net.conv(f"{use}/3x3", net.conv(f"{use}/3x3_reduce", x, reduce3), three, 3, "pad: 1"),
            net.conv(f"{use}/5x5", net.conv(f"{use}/5x5_reduce", x, reduce5), five, 5, "pad: 2"),
            net.conv(f"{use}/pool_proj", net.pool(f"{use}/pool", x, "stride: 1 pad: 1"), pooled),
        ]
        x = net.layer(f"{use}/output", "Concat", parts)
    net.layer("prob", "Softmax", net.layer("classifier", "InnerProduct", x, "inner_product_param { num_output: 1000 }"))
    return net.text


def resnet(name: str) -> str:
    """Six residual blocks of two widths; {use} and {part} say how layers are named."""
    net = Caffe("res", 3, 32)

    def normed(use: str, part: str, x: str, out: int, kernel: int, more: str) -> str:
        title = name.format(use=use, part=part)
        net.conv(title, x, out, kernel, f"bias_term: false {more}", relu=False)
        net.layer(f"{title}_bn", "BatchNorm", title, top=title)
        return net.layer(f"{title}_scale", "Scale", title, "scale_param { bias_term: true }", top=title)

    x = net.conv("conv1", "data", 8, 3, "pad: 1")
    for use, out in {"2a": 8, "2b": 8, "2c": 8, "3a": 16, "3b": 16, "3c": 16}.items():
        project = out == 16 and use == "3a"
        y = normed(use, "branch2a", x, out, 3, f"pad: 1 stride: {1 + project}")
        y = normed(use, "branch2b", net.layer(f"relu{use}", "ReLU", y, top=y), out, 3, "pad: 1")
        x = normed(use, "branch1", x, out, 1, "stride: 2") if project else x
        total = net.layer(f"sum{use}", "Eltwise", [x, y])
        x = net.layer(f"relu_{use}", "ReLU", total, top=total)
    return net.text


def deep(depths: Sequence[int], *, counted: bool = False, bias: bool = True) -> str:
    """ResNet-50 and its like to deploy, as their authors name them: `res2a_branch2b`, `bn2a_branch2b`, `res4b17`."""
    net = Caffe("resnet", 3, 224)

    def normed(name: str, use: str, x: str, out: int, kernel: int, more: str) -> str:
        net.conv(name, x, out, kernel, more, relu=False)
        net.layer(f"bn{use}", "BatchNorm", name, "batch_norm_param { use_global_stats: true }", top=name)
        return net.layer(f"scale{use}", "Scale", name, "scale_param { bias_term: true }", top=name)

    x = normed("conv1", "_conv1", "data", 64, 7, f"stride: 2 pad: 3 {'' if bias else 'bias_term: false'}")
    x = net.pool("pool1", net.layer("conv1_relu", "ReLU", x, top=x), "stride: 2")
    for stage, count in enumerate(depths):
        wide = 64 << stage
        for turn in range(count):
            use = f"{stage + 2}{f'b{turn}' if counted and turn else chr(ord('a') + turn)}"
            side = f"bias_term: false stride: {1 + (turn == 0 and stage > 0)}"
            y = x
            if turn == 0:
                x = normed(f"res{use}_branch1", f"{use}_branch1", x, 4 * wide, 1, side)
            for part, out, kernel, more in (
                ("2a", wide, 1, side),
                ("2b", wide, 3, "bias_term: false pad: 1"),
                ("2c", 4 * wide, 1, "bias_term: false"),
            ):
                y = normed(f"res{use}_branch{part}", f"{use}_branch{part}", y, out, kernel, more)
                y = y if part == "2c" else net.layer(f"res{use}_branch{part}_relu", "ReLU", y, top=y)
            x = net.layer(f"res{use}", "Eltwise", [x, y])
            net.layer(f"res{use}_relu", "ReLU", x, top=x)
    pool = "pooling_param { pool: AVE kernel_size: 7 stride: 1 }"
    scores = net.layer("pool5", "Pooling", x, pool)
    net.layer(
        "prob", "Softmax", net.layer("fc1000", "InnerProduct", scores, "inner_product_param { num_output: 1000 }")
    )
    return net.text


def converted(folder: Path, text: str, *, keep_names: bool = False) -> Converted:
    path = folder / "n.prototxt"
    path.write_text(text)
    return convert(path, keep_names=keep_names)


def parameters(source: Source, **dims: int) -> list[tuple[str, str]]:
    """Names, with `.` for `/`, and types of what a net learns and counts."""
    experiment = load(source)
    (name,) = experiment.nets
    net = build(experiment, name, mode="test", dims=dims)
    return [(one.name.replace("/", "."), str(one.type)) for one in net.state]


GOOGLENET = """# From n.prototxt.
block conv_relu(x, out, kernel = 1, stride = 1, pad = 0) {
    return x |> conv(out, kernel, stride: stride, pad: pad) |> relu
}

block inception(x, out_1x1, out_3x3_reduce, out_3x3, out_5x5_reduce, out_5x5, out_pool_proj) {
    conv_1x1 = conv_relu(x, out_1x1) as "1x1"
    conv_3x3 = x |> conv_relu(out_3x3_reduce) as "3x3_reduce"
        |> conv_relu(out_3x3, 3, pad: 1) as "3x3"
    conv_5x5 = x |> conv_relu(out_5x5_reduce) as "5x5_reduce"
        |> conv_relu(out_5x5, 5, pad: 2) as "5x5"
    pool_proj = x |> max_pool(3, stride: 1, pad: 1) |> conv_relu(out_pool_proj)
    return concat(conv_1x1, conv_3x3, conv_5x5, pool_proj)
}

net GoogleNet {
    input data: f32[N, 3, 224, 224]
    output prob = data |> conv_relu(64, 7, stride: 2, pad: 3) as "conv1/7x7_s2"
        |> max_pool(3, stride: 2)
        |> conv_relu(64) as "conv2/3x3_reduce" |> conv_relu(192, 3, pad: 1) as "conv2/3x3"
        |> max_pool(3, stride: 2) |> inception(64, 96, 128, 16, 32, 32) as inception_3a
        |> inception(128, 128, 192, 32, 96, 64) as inception_3b |> max_pool(3, stride: 2)
        |> inception(192, 96, 208, 16, 48, 64) as inception_4a
        |> inception(160, 112, 224, 24, 64, 64) as inception_4b
        |> inception(128, 128, 256, 24, 64, 64) as inception_4c
        |> inception(112, 144, 288, 32, 64, 64) as inception_4d
        |> inception(256, 160, 320, 32, 128, 128) as inception_4e |> max_pool(3, stride: 2)
        |> inception(256, 160, 320, 32, 128, 128) as inception_5a
        |> inception(384, 192, 384, 48, 128, 128) as inception_5b |> linear(1000) as classifier
        |> softmax
}
"""
RESNET = """# From n.prototxt.
block res(x, out) {
    branch2b = x |> conv(out, 3, pad: 1, bias: none) as branch2a
        |> batch_norm(affine: false) as branch2a_bn
        |> scale(bias: true) as branch2a_scale |> relu
        |> conv(out, 3, pad: 1, bias: none) as branch2b
        |> batch_norm(affine: false) as branch2b_bn |> scale(bias: true) as branch2b_scale
    return eltwise(x, branch2b) |> relu
}

net res {
    input data: f32[N, 3, 32, 32]
    x = data |> conv(8, 3, pad: 1) as conv1 |> relu
    for c in ["a", "b", "c"] {
        x = res(x, 8) as "/res2{c}"
    }
    res3a_branch2b = x |> conv(16, 3, stride: 2, pad: 1, bias: none) as "res3a/branch2a"
        |> batch_norm(affine: false) as "res3a/branch2a_bn"
        |> scale(bias: true) as "res3a/branch2a_scale"
        |> relu |> conv(16, 3, pad: 1, bias: none) as "res3a/branch2b"
        |> batch_norm(affine: false) as "res3a/branch2b_bn"
        |> scale(bias: true) as "res3a/branch2b_scale"
    res3a_branch1 = x |> conv(16, 1, stride: 2, bias: none) as "res3a/branch1"
        |> batch_norm(affine: false) as "res3a/branch1_bn"
        |> scale(bias: true) as "res3a/branch1_scale"
    output sum3c = eltwise(res3a_branch1, res3a_branch2b) |> relu |> res(16) as res3b
        |> res(16) as res3c
}
"""
RESNET_50 = """# From n.prototxt.
block conv_batch_norm_scale(x, id, out, kernel = 1, stride = 1, pad = 0) {
    return x |> conv(out, kernel, bias: none, stride: stride, pad: pad) as "/res{id}"
        |> batch_norm(use_global_stats: true, affine: false) as "/bn{id}"
        |> scale(bias: true) as "/scale{id}"
}

block branch(x, id, out, stride = 1) {
    return x |> conv_batch_norm_scale("{id}_branch2a", out, stride: stride) |> relu
        |> conv_batch_norm_scale("{id}_branch2b", out, 3, pad: 1) |> relu
        |> conv_batch_norm_scale("{id}_branch2c", 4 * out)
}

block projected(x, id, out, stride = 2) {
    a = conv_batch_norm_scale(x, "{id}_branch1", 4 * out, stride: stride)
    b = branch(x, id, out, stride: stride)
    return eltwise(a, b) |> relu
}

block residual(x, id, out) {
    a = branch(x, id, out)
    return eltwise(x, a) |> relu
}

net resnet {
    input data: f32[N, 3, 224, 224]
    x = data |> conv(64, 7, stride: 2, pad: 3) as conv1
        |> batch_norm(use_global_stats: true, affine: false) as bn_conv1
        |> scale(bias: true) as scale_conv1
        |> relu |> max_pool(3, stride: 2) |> projected("2a", 64, stride: 1) |> residual("2b", 64)
        |> residual("2c", 64) |> projected("3a", 128)
    for c in ["b", "c", "d"] {
        x = residual(x, "3{c}", 128)
    }
    x = projected(x, "4a", 256)
    for c in ["b", "c", "d", "e", "f"] {
        x = residual(x, "4{c}", 256)
    }
    output prob = x |> projected("5a", 512) |> residual("5b", 512) |> residual("5c", 512)
        |> avg_pool(7, stride: 1) |> linear(1000) as fc1000 |> softmax
}
"""


def test_inception_is_one_block_of_nine_uses(tmp_path: Path) -> None:
    """Its layers keep their names: `inception_3a/1x1` is `1x1` in the use `inception_3a`."""
    found = converted(tmp_path, googlenet())
    assert found.text == GOOGLENET
    source = parameters(read_source(tmp_path / "n.prototxt"))
    assert parameters(Source("n.net", found.text), N=2) == source
    assert ("inception_3a.1x1.weight", "f32[64,192,1,1]") in source


def test_residual_blocks_of_two_widths_are_one_block(tmp_path: Path) -> None:
    found = converted(tmp_path, resnet("res{use}/{part}"))
    assert found.text == RESNET
    source = parameters(read_source(tmp_path / "n.prototxt"))
    assert parameters(Source("n.net", found.text), N=2) == source


def test_resnet_50_is_four_blocks_and_loops(tmp_path: Path) -> None:
    """What varies stands in the middle of its names, so blocks are given it."""
    found = converted(tmp_path, deep((3, 4, 6, 3)))
    assert found.text == RESNET_50
    assert not [note for note in found.notes if "another graph" in note or "alike" in note]
    source = parameters(read_source(tmp_path / "n.prototxt"))
    assert parameters(Source("n.net", found.text), N=2) == source
    assert ("res4f_branch2b.weight", "f32[256,256,3,3]") in source


def test_resnet_101_counts_its_loop(tmp_path: Path) -> None:
    """What it begins with is named in a way of its own, and stays out of the block that is like it."""
    found = converted(tmp_path, deep((3, 4, 23, 3), counted=True, bias=False)).text
    assert 'for i in 1..22 {\n        x = residual(x, "4b{i}", 256)\n    }' in found
    assert "bias: none) as conv1" in found
    assert parameters(Source("n.net", found), N=2) == parameters(read_source(tmp_path / "n.prototxt"))


def test_names_that_no_block_can_give_are_kept_by_writing_the_layers_out(tmp_path: Path) -> None:
    """Layers that are numbered one after the other have no text in common that could be put in."""
    net = Caffe("numbered", 3, 16)
    x = "data"
    for number in range(1, 31, 3):
        x = net.conv(f"l{number}", x, 8, 3, "pad: 1 bias_term: false", relu=False)
        net.layer(f"l{number + 1}", "BatchNorm", x, top=x)
        net.layer(f"l{number + 2}", "Scale", x, "scale_param { bias_term: true }", top=x)
    found = converted(tmp_path, net.text)
    assert "block" not in found.text
    assert "as l28" in found.text
    assert "numbered: what begins with l1 and l4 is alike, but no block" in found.notes[0]


def test_a_loop_leaves_alone_what_others_read(tmp_path: Path) -> None:
    """The value that goes into a run of blocks is read once more at its end: so the first use stays before the loop."""
    net = Caffe("skip", 8, 16)
    before = net.conv("first", "data", 8, 3, "pad: 1")
    x = before
    for number in range(1, 6):
        x = net.conv(f"unit{number}", x, 8, 3, "pad: 1")
    net.layer("sum", "Eltwise", [before, x])
    found = converted(tmp_path, net.text)
    assert 'x = conv_relu(first) as unit1\n    for i in 2..5 {\n        x = conv_relu(x) as "/unit{i}"' in found.text
    assert "eltwise(first, x)" in found.text
    assert parameters(Source("n.net", found.text), N=2) == parameters(read_source(tmp_path / "n.prototxt"))


def test_the_layer_that_a_use_would_be_named_like_keeps_its_name(tmp_path: Path) -> None:
    """`res2a` beside `res2a/a` and `res2a/b`: a use of that name would take it from the layer."""
    net = Caffe("n", 3, 8)
    x = "data"
    for use in ("2a", "2b", "2c", "2d"):
        x = net.conv(f"res{use}", x, 8, 3, "pad: 1", relu=False)
        x = net.conv(f"res{use}/b", net.conv(f"res{use}/a", x, 8, 3, "pad: 1"), 8, 3, "pad: 1")
    found = converted(tmp_path, net.text)
    assert "without blocks" not in "".join(found.notes)
    assert parameters(Source("n.net", found.text), N=2) == parameters(read_source(tmp_path / "n.prototxt"))


def test_all_names_are_kept_in_blocks_too(tmp_path: Path) -> None:
    found = converted(tmp_path, googlenet(), keep_names=True).text
    assert found.count("|> inception(") == 9
    assert 'conv(out_1x1, 1) as "1x1" |> relu as "1x1/relu"' in found


def test_stages_are_no_blocks_where_their_parts_are(tmp_path: Path) -> None:
    """Two stages of three equal blocks each: the blocks are found, not the stages around them."""
    found = converted(tmp_path, resnet("res{use}/{part}")).text
    assert found.count("block ") == 1
    assert 'for c in ["a", "b", "c"] {\n        x = res(x, 8) as "/res2{c}"' in found


def test_where_blocks_would_be_another_graph_they_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block does wrong is noticed when the graphs are compared."""
    monkeypatch.setattr(
        conversion, "unparse", lambda file: unparse(file).replace("conv_relu(out_5x5, 5, pad: 2)", "conv_relu(out_5x5)")
    )
    found = converted(tmp_path, googlenet())
    assert "block" not in found.text
    assert found.notes[-1] == "written without blocks: with them it would be another graph"


def test_small_repetitions_are_left_alone(tmp_path: Path) -> None:
    net = Caffe("n", 3, 8)
    net.conv("b", net.conv("a", "data", 8), 8)
    assert "block" not in converted(tmp_path, net.text).text


@pytest.mark.skipif(not STRANGERS, reason="the shared prototxts are absent")
@pytest.mark.parametrize("path", STRANGERS, ids=lambda path: path.stem[-40:])
def test_nets_of_strangers_are_converted_with_their_blocks(path: Path) -> None:
    """What convert returns has been built and compared, and never needed the flat form; others end in their error."""
    try:
        load(read_source(path))
    except SourceErrors as errors:
        with pytest.raises(SourceErrors, match=re.escape(errors.errors[0].message)):
            convert(path)
        return
    found = convert(path)
    assert not [note for note in found.notes if "another graph" in note]
    assert len(found.text.splitlines()) < len(path.read_text().splitlines()) / 4


def test_a_net_too_large_to_be_searched_is_written_without_blocks(tmp_path: Path) -> None:
    """What the search takes grows with the net, so it has an end."""
    net = Caffe("n", 2, 4)
    x = "data"
    for number in range(LARGEST // 2):
        x = net.conv(f"c{number}", x, 1 + number % 3, more="stride: 1")
    assert "block" not in converted(tmp_path, net.text).text
