"""The names of layers and parameters: a contract with weight files."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.compiler.build import build, load
from netc.grammar.source import SourceErrors
from support.build_texts import built, file_of, state_of

STAGE = "block stage(x, c, k = 5) { return x |> conv(c, k, bias: none) |> max_pool(2) }"
FC = "block fc(x, out) { return linear(x, out, bias: none) }"
TWO = "block two(x) {\n y = x |> linear(8, bias: none) |> relu\n return y |> linear(9, bias: none)\n}"
BASIC = """
block basic(x, c) {
    y = x |> conv(c, 3, pad: 1, bias: none) as conv1 |> relu |> conv(c, 3, pad: 1, bias: none) as conv2
    return y + x
}
block stack(x, c, blocks) {
    x = x |> conv(c, 3, bias: none) as down
    for i in 2..blocks { x = x |> basic(c) }
    return x
}
block pair(x, c) {
    for i in 1..2 { x = x |> conv(c, 3, bias: none) }
    return x
}
"""

# What a case computes, where that is not `y`.
STARTS = {"score": "output", "nll": "loss", "image": "for"}

CASES = [
    # One layer with parameters in a statement has the bound name; more than one are <name>.<layer>.
    ("y = image |> linear(3, bias: none)", "", ["y.weight"]),
    ("y = image |> linear(3, bias: none) |> relu |> dropout(0.5)", "", ["y.weight"]),
    ("y = relu(linear(image, 3, bias: none)) + 1", "", ["y.weight"]),
    (
        "y = image |> linear(3, bias: none) |> linear(4, bias: none)",
        "",
        ["y.linear.weight", "y.linear.2.weight"],
    ),
    ("y = image |> linear(3, bias: none) as a |> linear(4, bias: none)", "", ["a.weight", "y.linear.weight"]),
    ('y = image |> linear(3, bias: none) as "a/b_1"', "", ["a/b_1.weight"]),
    ("y, z = split(linear(image, 4, bias: none), 2)", "", ["y.weight"]),
    ("y = image |> linear(3)", "", ["y.weight", "y.bias"]),
    # Roles bind names too.
    ("output score = image |> linear(3, bias: none) |> softmax", "", ["score.weight"]),
    ("loss nll = softmax_loss(linear(image, 3, bias: none), label)", "", ["nll.weight"]),
    # Names that are taken.
    ("y = image |> linear(3, bias: none)\n y = y |> linear(3, bias: none)", "", ["y.weight", "y.2.weight"]),
    (
        "y = image |> linear(3, bias: none) as a |> linear(3, bias: none) as a |> linear(2, bias: none) as a",
        "",
        ["a.weight", "a.2.weight", "a.3.weight"],
    ),
    # A block with one layer that has parameters gives it the name of its use.
    ("y = image |> fc(3) |> relu", FC, ["y.weight"]),
    ("y = image |> fc(3) as six |> fc(3) |> relu", FC, ["six.weight", "y.fc.weight"]),
    ("y = image |> stage(2) |> stage(3)", STAGE, ["y.stage.weight", "y.stage.2.weight"]),
    ("y = image |> stage(2) as conv1 |> linear(3, bias: none)", STAGE, ["conv1.weight", "y.linear.weight"]),
    # A block with several prefixes theirs with the name of its use.
    ("y = image |> two", TWO, ["y.y.weight", "y.linear.weight"]),
    ("y = image |> two as head", TWO, ["head.y.weight", "head.linear.weight"]),
    # Loops count 1, 2, 3, whatever they run over.
    (
        "y = image |> stack(4, 3) as layer1",
        BASIC,
        [
            "layer1.down.weight",
            "layer1.1.conv1.weight",
            "layer1.1.conv2.weight",
            "layer1.2.conv1.weight",
            "layer1.2.conv2.weight",
        ],
    ),
    ("y = image |> pair(4) as conv2", BASIC, ["conv2.1.weight", "conv2.2.weight"]),
    ("for c in [16, 32] { image = image |> linear(c, bias: none) }", "", ["1.weight", "2.weight"]),
    (
        "for c in [16, 32] { image = image |> linear(c, bias: none) as fc |> prelu as act }",
        "",
        ["1.fc.weight", "1.act.weight", "2.fc.weight", "2.act.weight"],
    ),
    # Of the arms of a choice, one counts.
    (
        "y = image |> either(2)",
        "block either(x, c) {\n if c > 1 { x = x |> linear(c, bias: none) } else { x = x |> conv(8, 3) }\n return x\n}",
        ["y.weight"],
    ),
    # Statistics have names as parameters do; a setting that leaves parameters out changes no name.
    ("y = image |> batch_norm(affine: false)", "", ["y.mean", "y.variance", "y.factor"]),
    # Free parameters.
    ("param scale: f32[1, 8] = constant(1)\n y = linear(image, 8, bias: none) * scale", "", ["scale", "y.weight"]),
]


@pytest.mark.parametrize(("body", "head", "names"), CASES)
def test_names_of_state(body: str, head: str, names: list[str]) -> None:
    output = next((name for name in ("score", "nll", "image") if body.startswith(STARTS[name])), "y")
    net = built(body, head, mode="train", outputs=[output])
    found = [info.name for info in net.state if info.kind != "counter"]
    assert sorted(found) == sorted(names)
    if "scale" not in names:
        assert found == names


@pytest.mark.parametrize("tail", ["", " |> relu", " |> relu |> dropout(0.5)", " |> max_pool(2) |> flatten"])
def test_names_do_not_change_with_layers_without_parameters(tail: str) -> None:
    assert state_of(f"y = image |> stage(3){tail}\n loss l = mean(y)", STAGE) == ["y.weight"]


def test_layers_without_parameters() -> None:
    net = built("y = image |> relu |> conv(2, 3) |> relu\n z = (y + 1) * 2 |> tanh\n loss l = mean(abs(z))")
    names = [layer.name for layer in net.layers]
    assert names == ["y.relu", "y", "y.relu.2", "z.add", "z.mul", "z.tanh", "l.abs", "l.mean"]
    scopes = {node.scope for node in net.graph.order if node.op.name not in ("input", "param")}
    assert scopes <= {*names, "label"}


def test_a_user_op_is_one_layer() -> None:
    net = built("y = f(image) as g\n loss l = mean(y)", "op f(x, a = 2) = tanh(x * a) + x")
    assert [(layer.name, layer.kind) for layer in net.layers] == [("g", "f"), ("l.mean", "mean")]
    assert dict(net.layers[0].settings) == {"a": 2}


def test_rows_of_the_layer_table() -> None:
    net = built("y = image |> conv(2, 3, stride: 2) as c1 |> relu\n loss l = mean(y)", mode="train", dims={"N": 5})
    row = net.layers[0]
    assert (row.name, row.kind, row.params) == ("c1", "conv", ("c1.weight", "c1.bias"))
    assert dict(row.settings) == {"out": 2, "kernel": 3, "stride": 2}
    assert [(name, str(type_)) for name, type_ in row.bottoms] == [("image", "f32[N,1,28,28]")]
    assert [(name, type_.shape) for name, type_ in row.tops] == [("c1", (5, 2, 13, 13))]
    assert net.layers[1].bottoms[0][0] == "c1"
    assert row.span.text == "conv(2, 3, stride: 2)"


@pytest.mark.parametrize(
    ("net", "names", "count"),
    [
        ("lenet.net", ["conv1.weight", "score.weight"], 431_080),
        ("caffenet.net", ["conv1.weight", "fc6.bias", "fc8.weight"], 60_965_224),
        ("googlenet.net", ["conv1/7x7_s2.weight", "inception_3a.1x1.weight", "loss3/classifier.bias"], 6_998_552),
    ],
)
def test_names_of_known_nets(net: str, names: list[str], count: int) -> None:
    experiment = load(Path(__file__).parents[2] / "examples" / net)
    found = build(experiment, experiment.default_net(), mode="test", dims={"N": 1}, outputs=["prob"])
    parameters = {info.name: info.type.count for info in found.state if info.kind == "parameter"}
    assert set(names) <= set(parameters)
    assert sum(parameters.values()) == count
    assert list(found.inputs) == ["image"]


def test_prototypes(shared: Path) -> None:
    nets = shared / "prototypes" / "language" / "nets"
    for name, wanted in (
        ("resnet50", ["layer1.2.conv1.weight", "layer3.5.bn2.mean", "stem.batch_norm.weight", "fc.weight"]),
        ("squeezenet", ["fire2.s.weight", "fire2.expand1x1.weight", "conv10.bias"]),
        ("siamese", ["left.conv1.weight", "left.feat.bias"]),
        ("mobilenet", ["conv1.weight", "x.separable.dw.weight", "1.dw.weight", "5.sep_bn.mean", "fc7.bias"]),
    ):
        experiment = load(nets / f"{name}.net")
        state = {info.name for info in build(experiment, name, mode="train").state}
        assert set(wanted) <= state


def test_a_name_that_two_calls_are_given_is_a_warning() -> None:
    text = "y = image |> linear(3) as fc |> linear(4) as fc\n    output z = y"
    (warning,) = [one for one in load(file_of(text)).warnings if one.code == "W607"]
    assert (warning.code, warning.message) == ("W607", "`fc` is the name of another call; this one is `fc.2`")
    loop = "y = image\n    for i in 1..3 { y = y |> linear(3) as fc }\n    output z = y"
    assert not [one for one in load(file_of(loop)).warnings if one.code == "W607"]


def test_a_batch_of_one_record_keeps_its_name() -> None:
    body = "h = image |> conv(4, 3) |> relu |> max_pool(2)\n    y = softmax(linear(h, 3)) * 2 + 1"
    net = built(body, dims={"N": 1}, outputs=["y", "h"])
    assert [str(net.graph.outputs[name].type) for name in ("h", "y")] == ["f32[N,4,13,13]", "f32[N,3]"]
    assert {str(type_)[:6] for row in net.layers for _, type_ in row.tops} == {"f32[N,"}


NORMED = """
block normed(x, id, c = 2) { return x |> conv(c, 1, bias: none) as "/res{id}" |> scale as "scale{id}" }
block unit(x, id, mark = "b") { return x |> normed("{id}{mark}") as "norm{id}" }
"""


def names_of(body: str, blocks: str = NORMED) -> list[str]:
    return [info.name for info in built(f"{body}\n output out = y", blocks).state]


def test_a_label_with_a_slash_in_front_is_the_whole_name() -> None:
    """Neither blocks nor turns of a loop put anything before it."""
    body = 'y = image\n for i in 1..2 { y = y |> conv(1, 1, bias: none) as "/layer1.{i - 1}.conv1" }'
    assert names_of(body) == ["layer1.0.conv1.weight", "layer1.1.conv1.weight"]


def test_labels_and_texts_for_blocks_have_constants_in_them() -> None:
    found = names_of('y = image |> unit("2a") as use |> unit("{1 + 2}", mark: "c")')
    assert found == [
        "res2ab.weight",
        "use.norm2a.scale2ab.weight",
        "res3c.weight",
        "y.unit.norm3.scale3c.weight",
    ]


def test_uses_share_what_has_one_template() -> None:
    """Its value is another in each use, the text is not."""
    body = 'a = image |> unit("2a") as left\n y = (image |> unit("2b", share: left)) + a'
    assert names_of(body) == ["res2ab.weight", "left.norm2a.scale2ab.weight"]


def test_a_layer_of_another_scope_is_shared_by_its_whole_name() -> None:
    blocks = NORMED + 'block again(x, id) { return x |> conv(2, 1, bias: none, share: "/res{id}") }'
    assert names_of('y = image |> normed("2a")\n y = y + again(image, "2a")', blocks)[0] == "res2a.weight"
    assert len(names_of('y = image |> normed("2a")\n y = y + again(image, "2a")', blocks)) == 2


def test_braces_around_what_is_no_expression_stay() -> None:
    """A block may hand on the settings of a host layer."""
    assert names_of("y = image |> normed(\"{'a':1}\")")[0] == "res{'a':1}.weight"


def test_the_name_of_a_use_is_free_for_a_layer_in_it() -> None:
    """A statement may bind the name that the layer has which it computes."""
    assert names_of('res2a = image |> normed("2a")\n y = res2a')[0] == "res2a.weight"
    one = 'block one(x) { return x |> conv(1, 1, bias: none) }\nblock two(x) { return x |> conv(1, 1) as "/a" }'
    with pytest.raises(SourceErrors, match="`a` is the name of another layer"):
        names_of("a = one(image)\n y = two(a)", one)
