"""What statements and expressions mean: folding, arithmetic, loops, choices, blocks, ops, roles, outputs."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import pytest

from netc.compiler.build import build, load, nets
from netc.compiler.interpret import interpret
from netc.compiler.net import OBJECTIVE
from netc.compiler.ops.source import splat
from netc.grammar.source import Source, UserError, among
from support.build_texts import built, codes, file_of

X = np.linspace(-2, 2, 8).reshape(2, 4)


def value(expression: str, head: str = "", before: str = "") -> np.ndarray:
    """The value of an expression over `x`."""
    text = f"{head}\nnet n {{\n input x: f32[N, 4]\n {before}\n output y = {expression}\n}}\n"
    net = build(load(Source("test.net", text)), "n", mode="test", outputs=["y"])
    outputs = interpret(net.graph, {"x": X})
    return np.asarray(outputs["y"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x + 1", X + 1),
        ("1 - x * 2", 1 - X * 2),
        ("-x ** 2", -(X**2)),
        ("2 ** -1 * x", 0.5 * X),
        ("x / 4", X / 4),
        ("3 / (x + 5)", 3 / (X + 5)),
        ("where(x > 0, 1, -1) * x", np.abs(X)),
        ("where(x >= 0, x, 0 - x)", np.abs(X)),
        ("where(x <= 0, 0, 1) + x", (X > 0) + X),
        ("where(x == 2, x, 0)", np.where(X == 2, X, 0)),
        ("where(x != 2, x, 0)", np.where(X != 2, X, 0)),
        ("sum(x)", X.sum()),
        ("mean(abs(x) + 1)", np.mean(np.abs(X) + 1)),
        ("x + 1 |> relu", np.maximum(X + 1, 0)),
        ("x |> relu |> tanh", np.tanh(np.maximum(X, 0))),
        ("x * (1/256)", X / 256),
        ("x * c * exp(0) + log(exp(1))", X * 64 + 1),
    ],
)
def test_arithmetic(text: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(value(text, "const c = 2 ** 6"), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/256", 1 / 256),
        ("7 / 2", 3.5),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("(0 - 1) ** 1000000000001", -1),
        ("0 ** 0", 1),
        ("2 * 3 >= 6", True),
        ('"a" == "b"', False),
        ("true == 1", False),
        ("[1, 2] != [1, 3]", True),
        ("1e3 + .5", 1000.5),
    ],
)
def test_folding(text: str, expected: object) -> None:
    found = load(Source("test.net", f"const a = {text}\n")).consts["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_whole_numbers_may_be_computed() -> None:
    net = built("y = image |> conv(c / 4, [6 / 2, 3.0])", "const c = 64", outputs=["y"])
    assert net.layers[0].settings == (("out", 16), ("kernel", (3, 3)))


def test_ops_are_expanded_with_defaults_of_their_file() -> None:
    head = "const two = 2\nop g(x, a = two, b = a + 1) = x * a + b\nop f(x) = g(x) + g(x, b: 0)"
    np.testing.assert_allclose(value("f(x)", head), X * 4 + 3)


def test_gradients_do_not_flow_through_detach() -> None:
    np.testing.assert_allclose(value("ste(x)", "op ste(x) = x + detach(where(x > 0, 1, -1) - x)"), np.sign(X))


def test_blocks_give_several_results() -> None:
    head = "block both(x, c = 2) {\n y = x * c\n return y, x + c\n}"
    np.testing.assert_allclose(value("a - b", head, before="a, b = both(x)"), X * 2 - (X + 2))


def test_names_are_bound_again_and_shadow_constants() -> None:
    np.testing.assert_allclose(value("k", "const k = 3", before="k = x * k\n k = k + 1"), X * 3 + 1)


def test_values_and_functions_have_separate_names() -> None:
    np.testing.assert_allclose(value("relu", before="relu = relu(x)"), np.maximum(X, 0))


def test_loops_count_both_ends_and_keep_their_variable_to_themselves() -> None:
    np.testing.assert_allclose(value("x", before="for i in 1..3 { x = x + i }"), X + 6)
    np.testing.assert_allclose(value("x", before="for i in 1..0 { x = x + i }"), X)
    np.testing.assert_allclose(value("x", before="for c in [10, 20] { x = x + c }"), X + 30)
    np.testing.assert_allclose(value("i + x", "const i = 7", before="for i in 1..2 { x = x * i }"), 7 + X * 2)
    assert codes("net n {\n input x: f32[N]\n for i in 1..2 { x = x * i }\n output y = x * i\n}") == ["E202"]


def test_choices() -> None:
    before = 'if k > 2 { x = x + 1 } else if k == "b" { x = x + 2 } else { x = x + 3 }'
    np.testing.assert_allclose(value("x", "const k = 3", before), X + 1)
    np.testing.assert_allclose(value("x", "const k = 1", before), X + 3)


def test_the_mode_is_a_choice() -> None:
    source = file_of("if train { y = image * 2 } else { y = image }\n loss l = mean(y)")
    counts = [len(build(load(source), "n", mode=mode).layers) for mode in ("train", "test")]
    assert counts == [2, 1]


def test_symbols_have_one_value_in_the_net_and_keep_their_name() -> None:
    text = "net n {\n input a: f32[N, T]\n input b: f32[T, 3]\n output y = f(a)\n output z = b\n}"
    head = "block f(x) { return reshape(x, [N * T]) }\n"
    experiment = load(Source("test.net", head + text))
    net = build(experiment, "n", mode="test", dims={"N": 4, "T": 5})
    assert [str(type_) for type_ in net.inputs.values()] == ["f32[N,T]", "f32[T,3]"]
    assert net.graph.outputs["y"].shape == (20,)
    assert net.dims == {"N": 4, "T": 5}
    with pytest.raises(Exception, match="give --dim T=20"):
        build(experiment, "n", mode="test")
    with pytest.raises(UserError, match="no dimension `S`"):
        build(experiment, "n", mode="test", dims={"S": 3})


def test_the_objective_is_the_weighted_sum_of_the_losses() -> None:
    net = built(
        "loss a = mean(image)\n loss(weight: 0.5) b = sum(image)\n loss(weight: 0) c = mean(abs(image))\n"
        " metric m = mean(image * 2)\n output o = image",
        mode="train",
    )
    assert list(net.graph.outputs) == ["a", "b", "c", "m", OBJECTIVE]
    assert dict(net.losses) == {"a": 1.0, "b": 0.5, "c": 0.0}
    image = np.random.default_rng(0).normal(size=(2, 1, 28, 28))
    found = interpret(net.graph, {"image": image})
    np.testing.assert_allclose(found[OBJECTIVE], found["a"] + 0.5 * found["b"], rtol=1e-6)
    assert list(net.inputs) == ["image"]


def test_test_mode_gives_all_roles() -> None:
    net = built("y = linear(image, 3)\n loss l = softmax_loss(y, label)\n metric m = mean(y)\n output p = softmax(y)")
    assert list(net.graph.outputs) == ["p", "m", "l"]
    assert (net.outputs, net.metrics, dict(net.losses)) == (("p",), ("m",), {"l": 1.0})


def test_outputs_leave_out_what_they_do_not_need() -> None:
    body = "a = linear(image, 3)\n b = linear(a, 4)\n loss l = softmax_loss(b, label)\n output p = softmax(a)"
    net = built(body, outputs=["p", "a"])
    assert list(net.inputs) == ["image"]
    assert [info.name for info in net.state] == ["a.weight", "a.bias"]
    assert [layer.name for layer in net.layers] == ["a", "p.softmax"]
    with pytest.raises(UserError, match="did you mean `p`"):
        built(body, outputs=["pp"])


def test_updates_of_statistics_follow_what_is_asked_for() -> None:
    body = "a = batch_norm(image) as bn1\n b = batch_norm(image) as bn2\n loss l = mean(a) + mean(b)"
    assert {name.split(".")[0] for name in built(body, mode="train").graph.updates} == {"bn1", "bn2"}
    assert {name.split(".")[0] for name in built(body, mode="train", outputs=["a"]).graph.updates} == {"bn1"}
    assert not built(body, mode="test").graph.updates


def test_random_streams_are_numbered_and_counted() -> None:
    net = built("y = image |> dropout(0.5) |> dropout(0.5)\n loss l = mean(y)", mode="train")
    streams = [node.attrs["stream"] for node in net.graph.order if node.op.name == "random"]
    assert sorted(streams) == [0, 1]
    assert [(info.name, info.kind, str(info.type)) for info in net.state] == [
        (".seed", "counter", "i64[]"),
        (".step", "counter", "i64[]"),
    ]
    assert not built("y = image |> dropout(0.5)\n loss l = mean(y)", mode="test").state


def test_parameters_take_fillers_multipliers_and_none() -> None:
    net = built(
        "param(lr: 0, decay: 2) s: f32[1] = constant(3)\n"
        " y = conv(image, 4, 3, weight: gaussian(std: 0.01), bias: constant(0.1), lr: [1, 2], decay: [1, 0]) as c\n"
        " y = linear(y, 3, bias: none, weight: msra, lr: 0) as d\n y = scale(y, bias: constant(1)) as e\n"
        " loss l = mean(y * s)",
        mode="train",
    )
    rows = {info.name: (info.filler.name, info.lr, info.decay, info.layer) for info in net.state}
    assert rows == {
        "s": ("constant", 0.0, 2.0, "s"),
        "c.weight": ("gaussian", 1.0, 1.0, "c"),
        "c.bias": ("constant", 2.0, 0.0, "c"),
        "d.weight": ("msra", 0.0, 1.0, "d"),
        "e.weight": ("constant", 1.0, 1.0, "e"),
        "e.bias": ("constant", 1.0, 1.0, "e"),
    }
    fillers = {info.name: info.filler for info in net.state}
    assert fillers["c.weight"].get("std") == 0.01
    assert fillers["e.bias"].get("value") == 1.0
    assert net.state[1].place.startswith("test.net:")


def test_directives_reach_the_layers_of_their_statement() -> None:
    net = built(
        "@nofuse\n y = image |> f |> relu\n @recompute z = y * 2\n @nofuse for i in 1..2 { z = tanh(z) }\n"
        " loss l = mean(z)",
        "block f(x) { return abs(x) }",
    )
    assert net.directives == {
        "y.f.abs": {"nofuse"},
        "y.relu": {"nofuse"},
        "z.mul": {"recompute:1"},
        "1.z.tanh": {"nofuse"},
        "2.z.tanh": {"nofuse"},
    }


def test_scopes_and_places_of_nodes() -> None:
    net = built("y = conv(image, 2, 3) as c\n loss l = mean(y)")
    node = next(node for node in net.graph.order if node.op.name == "conv")
    assert (node.scope, node.span.text if node.span else "") == ("c", "conv(image, 2, 3)")
    assert all(node.scope for node in net.graph.order if node.op.name != "const" and splat(node) is None)


def test_texts_and_lists_are_limited() -> None:
    assert codes(f'const a = "{"x" * 10_001}"\n') == ["E515"]
    assert codes(f"const a = [{', '.join('1' * 10_001)}]\n") == ["E515"]
    assert codes("const a = [-1, enc.weight]\nconst b = [relu(1), -[2]]\n") == ["E211", "E315", "E301"]


@pytest.mark.parametrize(
    ("typo", "code"), [("x + lrr", "E202"), ("reluu(x)", "E203"), ("relu(x, negativ_slope: 0.1)", "E201")]
)
def test_a_near_name_is_looked_for_once_a_place(typo: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each turn of a loop, nor at each use of a block."""
    searches: list[str] = []
    search = difflib.get_close_matches

    def counted(word: str, *more: Any, **how: Any) -> list[str]:
        searches.append(word)
        return search(word, *more, **how)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    among.cache_clear()
    text = f"block b(x) {{\n for i in 1..50 {{ x = {typo} }}\n return x\n}}\n"
    body = "".join(f"y{i} = b(x)\n" for i in range(20))
    assert codes(f"{text}net n {{\n input x: f32[N, 3]\n{body} loss l = mean(y0)\n}}\n") == [code]
    assert len(searches) == 1


def test_too_many_problems_are_cut() -> None:
    assert len(codes("".join(f"const a{i} = x{i}\n" for i in range(300)))) == 100


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            "y = split(image, 1, axis: 2) |> relu\n z = split(image, 2, axis: 2) |> relu |> tanh\n loss l = mean(y)",
            ["E208"],
        ),
        ("y = image |> linear(3, weight: relu(image))\n loss l = mean(y)", ["E310"]),
        (
            "y = softmax.weight + y.weight\n y = linear(image, 3, lr: k)\n loss l = mean(y.bias)",
            ["E211", "E211", "E202"],
        ),
        ("y = -label\n z = -(image < 1)\n loss l = mean(image)", ["E311"]),
        ("y = linear(image, 3, foo: 1) as a\n z = a.weight + a.bias\n loss l = mean(z)", ["E201"]),
        ("y = relu(image, share: a) as b\n loss l = mean(y)", ["E201"]),
        ("y = exp(1e9) + log(0)\n loss l = mean(image * y)", ["E302", "E302"]),
        (
            "param p: f32[3] = gausian\n param q: f32[2] = constant(val: 1)\n loss l = mean(p) + mean(q)",
            ["E203", "E201"],
        ),
        ("input more: f32[N, 9000000, 900000]\n loss l = mean(more)", ["E514"]),
        ("y = image |> linear(3) as a\n y = f(y) as b\n loss l = mean(y)", ["E209"]),
        ("input label: i32[N]\n loss l = mean(image)", ["E209"]),
        (f"y = reshape(image, [{', '.join('1' * 40)}, -1])\n loss l = mean(y)", ["E514"]),
    ],
)
def test_more_errors(body: str, found: list[str]) -> None:
    head = "block f(x) { param weight: f32[3]\n return linear(x * weight, 3) }"
    assert codes(file_of(body, head)) == found


def test_nodes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nets, "MAX_NODES", 40)
    assert codes(file_of("y = image |> lrn |> lrn |> lrn |> lrn\n loss l = mean(y)")) == ["E511"]
    assert codes(file_of("for i in 1..60 { image = image + i }\n loss l = mean(image)")) == ["E511"]
    monkeypatch.setattr(nets, "MAX_NODES", 400)
    assert codes(file_of("y = image |> lrn |> lrn |> lrn |> lrn\n loss l = mean(y)")) == []
