"""All layers by one test: words, schema, types, text form, gradient, and only errors that a user can read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.layers import LAYERS
from netc.compiler.layers.base import PerAxis
from netc.compiler.ops import TypeRuleError
from netc.compiler.schema.settings import ANY, kind_of
from netc.compiler.text import print_graph
from netc.compiler.text_reader import read_graph
from netc.grammar.source import SourceError
from netc.passes.training.gradient import cotangents, erase_surrogate
from support.layer_samples import CALLS, Call
from support.standalone import Standalone

# No gradient flows through these (or only to parameters).
FLAT = {"accuracy", "threshold", "floor", "detach"}
# Nor to these operands; what is remembered of the pass before counts as one.
UNTAUGHT = {"infogain_loss": {"x2"}, "lstm": {"h0", "c0"}, "rnn": {"h0"}}
# Results after the first are for the next pass, and have none either.
LEFT = {"lstm", "rnn"}

EACH = [pytest.param(name, call, id=f"{name}-{i}") for name, calls in CALLS.items() for i, call in enumerate(calls)]
each_call = pytest.mark.parametrize(("name", "call"), EACH)


def test_every_layer_has_a_call() -> None:
    assert set(CALLS) == set(LAYERS.own)


@pytest.mark.parametrize("name", LAYERS.own)
def test_a_layer_says_its_formula_and_its_caffe_type(name: str) -> None:
    layer = LAYERS[name]
    first = layer.doc.split("\n")[0]
    assert len(first) > 5
    stated = re.search(r" {3}\(Caffe: (.+)\)$", first)
    assert (stated is not None) == bool(layer.caffe)
    assert all(re.search(rf"\b{caffe}\b", stated.group(1)) for caffe in layer.caffe if stated)


@pytest.mark.parametrize("name", LAYERS.own)
def test_a_layers_signature_is_a_schema(name: str) -> None:
    for parameter in LAYERS[name].signature.parameters.values():
        kind = kind_of(parameter.annotation)
        assert kind is not ANY, parameter
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert not kind.tensor or parameter.default is None
            if parameter.default not in (None, parameter.empty):
                assert kind.convert(parameter.default) == parameter.default
        else:
            assert kind.tensor, "what comes before the settings is a tensor"


@each_call
def test_a_layers_graph_is_valid_and_prints_and_reads_back(name: str, call: Call) -> None:
    context, results = call.build(name)
    graph = context.graph({str(i): y for i, y in enumerate(results)})
    text = print_graph(graph, comments=False)
    if name in ("host", "filter"):
        with pytest.raises(SourceError, match="a text cannot say which Python function"):
            read_graph(text)
        return
    assert print_graph(read_graph(text), comments=False) == text
    assert all(node.scope == "l" for node in graph.order if node.op.name not in ("input",))


@each_call
def test_a_layer_makes_the_state_that_it_declares(name: str, call: Call) -> None:
    context, _ = call.build(name)
    made = {key.removeprefix("l.") for key in (*context.parameters, *context.statistics)}
    assert made <= set(LAYERS[name].params)


def test_every_declared_parameter_is_made_by_some_call() -> None:
    for name, calls in CALLS.items():
        contexts = [call.build(name)[0] for call in calls]
        made = {key.removeprefix("l.") for c in contexts for key in (*c.parameters, *c.statistics)}
        assert made == set(LAYERS[name].params), name


@each_call
def test_float32_is_near_float64(name: str, call: Call) -> None:
    context, results = call.build(name)
    graph = context.graph({str(i): y for i, y in enumerate(results)})
    feeds = call.feeds(graph)
    wide, narrow = evaluate(graph, feeds), evaluate(graph, feeds, wide=False)
    for exact, rounded in zip(wide, narrow, strict=True):
        for key, value in exact.items():
            np.testing.assert_allclose(rounded[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False], ids=["train", "test"])
@each_call
def test_a_layers_gradient_is_the_finite_difference(name: str, call: Call, training: bool) -> None:
    call = replace(call, training=training)
    context, results = call.build(name)
    floats = [y for y in results if y.type.is_float][: 1 if name in LEFT else None]
    inputs = {n.attrs["name"]: n for n in Graph(dict(enumerate(floats))).order if n.op.name in ("input", "param")}  # type: ignore[arg-type]
    wrt = {key: n for key, n in inputs.items() if n.type.is_float and key not in context.statistics}
    wrt = {key: n for key, n in wrt.items() if key not in UNTAUGHT.get(name, ())}
    weights = {f"w{i}": ops.input_(name=f"w{i}", shape=y.shape, dtype=y.dtype) for i, y in enumerate(floats)}
    objective = ops.const(value=0.0, shape=(), dtype="f32")
    for y, weight in zip(floats, weights.values(), strict=True):
        objective = objective + expr.cast(expr.sum(y * weight), "f32")
    graph = Graph({"o": objective})
    found = cotangents(graph, objective, list(wrt.values()))
    gradient = erase_surrogate(Graph({"o": objective, **{key: found[n] for key, n in wrt.items()}}))
    feeds = call.feeds(graph)
    rng = np.random.default_rng(7)
    feeds |= {key: rng.standard_normal(w.shape) for key, w in weights.items()}
    derived = evaluate(gradient, feeds)[0]
    direction = {key: rng.standard_normal(n.shape) for key, n in wrt.items()}

    def at(distance: float) -> float:
        moved = {k: v + distance * direction[k] if k in direction else v for k, v in feeds.items()}
        return float(evaluate(graph, moved)[0]["o"])

    slope = sum(float((derived[key] * d).sum()) for key, d in direction.items())
    if name in FLAT or not floats or not wrt:
        assert slope == 0.0
        return
    assert abs(slope) > 1e-6
    assert slope == pytest.approx((at(1e-6) - at(-1e-6)) / 2e-6, rel=1e-5, abs=1e-8)


def _any(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that the schema lets through for an annotation."""
    small = st.sampled_from([-2, -1, 0, 1, 2, 3, 5, 2**31, 2**62])
    if annotation == PerAxis:
        return small | st.lists(small, max_size=3).map(tuple)
    if annotation is int:
        return small
    if annotation is float:
        return st.sampled_from([-1.5, -1.0, 0.0, 0.5, 1.0, 2.0, 1e30, 1e-30])
    if annotation is str:
        there = st.sampled_from(["cubed", "Mixed", "Above"]).map(lambda layer: f"support.python_layers:{layer}")
        return there | st.sampled_from(["support.python_layers:absent", "nowhere:nothing", "x", ""])
    if annotation is bool:
        return st.booleans()
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is tuple:
        return st.lists(_any(get_args(annotation)[0]), max_size=3).map(tuple)
    if annotation is type(None):
        return st.none()
    if annotation is Node:
        return _tensor()
    return st.one_of(*(_any(a) for a in get_args(annotation)))


def _tensor() -> st.SearchStrategy[Node]:
    shape = st.lists(st.sampled_from([0, 1, 2, 3, 4, 6]), max_size=5).map(tuple)
    dtype = st.sampled_from(["f32", "f32", "f32", "f64", "i32", "u8", "bool"])
    return st.builds(lambda s, d: ops.const(value=1, shape=s, dtype=d), shape, dtype)


@pytest.mark.parametrize("name", LAYERS.own)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_whatever_a_layer_is_given_it_works_or_refuses_with_a_sentence(name: str, data: st.DataObject) -> None:
    operands: list[Any] = []
    keywords: dict[str, Any] = {}
    for parameter in LAYERS[name].signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            operands += data.draw(st.lists(_tensor(), min_size=1, max_size=3))
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            operands.append(data.draw(_any(parameter.annotation)))
        elif parameter.default is parameter.empty or data.draw(st.booleans()):
            keywords[parameter.name] = data.draw(_any(parameter.annotation))
    message = ""
    result: Any = ()
    try:
        result = Standalone(training=data.draw(st.booleans())).call(name, *operands, **keywords)
    except TypeRuleError as error:
        message = error.message
    results = result if isinstance(result, tuple) else (result,)
    assert len(message) > 10 or (results and all(isinstance(node, Node) for node in results))
