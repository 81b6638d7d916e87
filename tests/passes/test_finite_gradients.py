"""Gradients over the range of exponents of f32: of every layer, and of the ops that pages and examples show.

None is NaN; one is infinite only where the value itself is, or the gradient in double precision would not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.build import build, load
from netc.compiler.graph import Graph
from netc.compiler.interpret import interpret
from netc.compiler.layers import LAYERS
from netc.compiler.net import OBJECTIVE
from netc.compiler.schema.foreign_layers import CALLS as FOREIGN
from netc.grammar.source import Source
from netc.passes import pipeline
from netc.passes.manager import run
from netc.passes.rules.simplify import simplify
from netc.passes.training.flatten import flat_layout
from netc.passes.training.gradient import gradient
from support.layer_samples import CALLS, Call
from support.op_samples import Array

ROOT = Path(__file__).parents[2]
LARGEST = float(np.finfo(np.float32).max)
POWERS = 2.0 ** np.arange(-126, 128)
EVERY = np.concatenate([-POWERS[::-1], [0.0], POWERS])
# Sums of a few dozen numbers above these are infinite, whatever is summed.
SUMMED = 2.0 ** np.arange(-126, 120, 3)
# What is not smooth there, or has no value.
HOLES = {"sqrt": EVERY > 0, "log": EVERY > 0}


def judged(graph: Graph, feeds: dict[str, Array], where: Array | None = None) -> None:
    """Hold the gradients of a graph in f32 to those in double precision."""
    narrow, wide = (interpret(graph, feeds, wide=wide) for wide in (False, True))
    for name, found in narrow.items():
        if not name.endswith(".grad"):
            continue
        kept = np.ones(found.shape, bool) if where is None else where
        assert not np.isnan(found[kept]).any(), f"{name} is NaN at {feeds}"
        fits = np.isfinite(narrow["y"]).all() if where is None else np.isfinite(narrow["y"])
        large = ~(np.abs(wide[name]) <= LARGEST)
        assert np.isfinite(found[kept & fits & ~large]).all(), f"{name} is infinite at {feeds}"


def differentiated(text: str, inputs: str, shape: str) -> Graph:
    """The gradients of the sum of an expression by its inputs, through the passes of a program."""
    lines = "".join(f"    input {name}: f32[{shape}]\n" for name in inputs.split())
    before, _, value = text.partition("=>")
    whole = f"{before}\nnet n {{\n{lines}    y = {value}\n    loss l = sum(y)\n    output z = y\n}}\n"
    net = build(load(Source("n.net", whole)), "n", mode="train", dims={}, outputs=["l", "y"])
    layout = flat_layout(net.state)
    return run(net.graph, pipeline.gradients(inputs.split(), layout))


def shown_ops() -> dict[str, str]:
    """The ops of the pages, the front page and the examples, by name."""
    found: dict[str, str] = {}
    for path in [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", *sorted((ROOT / "examples").glob("*.net"))]:
        page = path.read_text(encoding="utf-8")
        for text in re.findall(r"^(op \w+\(.*?)(?=^\n|^```|\Z)", page, re.DOTALL | re.MULTILINE):
            found.setdefault(re.findall(r"op (\w+)", text)[0], text)
    return found


OPS = {"mish": ["mish(x)", "mish(x, beta: 2)"], "huber": ["huber(x, t, d: 0.5)"], "leaky": ["leaky(x)"]}
OF_A_PACKAGE = {"wave"}  # of `sin`, which the page on extending adds


def test_all_ops_of_the_pages_are_looked_at() -> None:
    assert set(shown_ops()) == {*OPS, *OF_A_PACKAGE}


@pytest.mark.parametrize("name", OPS)
def test_ops_of_the_pages_have_finite_gradients(name: str) -> None:
    for call in OPS[name]:
        before = f"const slope = 0.1\n{shown_ops()[name]}" if name == "leaky" else shown_ops()[name]
        graph = differentiated(f"{before}=>{call}", "x t" if name == "huber" else "x", str(len(EVERY)))
        judged(graph, {"x": EVERY, "t": np.zeros_like(EVERY)}, np.ones(EVERY.shape, bool))


def test_mish_is_right_where_its_exponential_overflows() -> None:
    graph = differentiated(f"{shown_ops()['mish']}=>mish(x)", "x", "4")
    found = interpret(graph, {"x": np.array([100.0, 89.0, -100.0, 0.0])}, wide=False)
    assert np.allclose(found["y"], [100.0, 89.0, 0.0, 0.0], rtol=1e-6, atol=1e-30)
    assert np.allclose(found["x.grad"], [1.0, 1.0, 0.0, 0.6], rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("log(1 + exp(x))", lambda x: 1 / (1 + np.exp(-x))),
        ("log(exp(-x) + 1)", lambda x: -1 / (1 + np.exp(x))),
        ("1 / (1 + exp(-x))", lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2),
        ("x / (1 + exp(-x))", lambda x: (1 + np.exp(-x) * (1 + x)) / (1 + np.exp(-x)) ** 2),
    ],
)
def test_exponentials_that_overflow_have_the_right_gradients(text: str, formula: Callable[[Array], Array]) -> None:
    graph = differentiated(f"=>{text}", "x", str(len(EVERY)))
    judged(graph, {"x": EVERY}, np.ones(EVERY.shape, bool))
    x = np.linspace(-30, 30, len(EVERY))
    assert np.allclose(interpret(graph, {"x": x})["x.grad"], formula(x), rtol=1e-9, atol=1e-18)


ELEMENTWISE = [name for name, layer in LAYERS.own.items() if layer.elementwise and name in CALLS]


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if len(CALLS[n][0].operands) == 1 and n != "cast"])
def test_elementwise_layers_have_finite_gradients(name: str) -> None:
    for call in CALLS[name]:
        settings = {k: v for k, v in call.settings.items() if k not in ("axis", "keepdims")}
        given = Call((f"f32[{len(EVERY)}]",), settings)
        context, (y, *_) = given.build(name)
        if name in ("sum", "mean", "max", "min", "max_reduce") or not y.type.is_float:
            continue
        graph = gradient(["x0"])(context.graph({"y": y, OBJECTIVE: expr.sum(y)}))
        inside = HOLES.get(name, np.ones(EVERY.shape, bool))
        if name == "power" or (name == "log" and settings):
            scale, shift = settings.get("scale", 1.0), settings.get("shift", 0.0)
            inside = EVERY * scale + shift > 1e-9
        judged(simplify(graph), {"x0": EVERY}, inside)


FORMULAS = sorted({meant.formula for meant in FOREIGN.values() if re.search(r"\bx\b", meant.formula)})


@pytest.mark.parametrize("formula", [one for one in FORMULAS if "axis" not in one and "softmax" not in one])
def test_formulas_of_hints_have_finite_gradients(formula: str) -> None:
    graph = differentiated(f"=>{formula}", "x", str(len(EVERY)))
    judged(graph, {"x": EVERY}, np.abs(EVERY) < 2.0**40)


@pytest.mark.parametrize("name", [name for name in CALLS if name not in (*ELEMENTWISE, "host")])
def test_layers_have_finite_gradients(name: str) -> None:
    """By data and by parameters, with all numbers of a tensor as large as one another."""
    for call in CALLS[name]:
        context, results = call.build(name)
        floats = [node.attrs["name"] for node in call.nodes() if node.type.is_float]
        outputs = [y for y in results if y.type.is_float]
        if not outputs or not floats:
            continue
        total = ops.cast(expr.sum(outputs[0]), dtype="f32")
        graph = context.graph({"y": outputs[0], OBJECTIVE: total})
        known = {**graph.inputs, **graph.params}
        graph = simplify(gradient([n for n in [*floats, *context.parameters] if n in known])(graph))
        base = call.feeds(graph)
        for size in SUMMED:
            judged(graph, {**base, **{n: np.sign(base[n]) * size for n in floats if n in base}})
