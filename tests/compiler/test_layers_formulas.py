"""Values of every layer against a formula written from its definition, in both modes.

The formulas are plain loops in numpy (`support/layer_formulas.py`), which share nothing with the compiler, so that a
fault of a layer that verification's oracle has as well is seen here, without data of anybody else's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netc.compiler.interpret import evaluate
from netc.compiler.layers import LAYERS
from support.layer_formulas_more import CHECKS, FORMULAS, Given
from support.layer_samples import CALLS, Call, of

# More than the samples of all layers have: what one setting alone changes.
MORE: dict[str, list[Call]] = {
    "conv": [
        of("f32[2,4,7,6]", out=4, kernel=(3, 2), stride=(2, 1), pad=(1, 0), group=4, dilation=(1, 2)),
        of("f32[3,2,5]", out=1, kernel=1, bias=False),
    ],
    "deconv": [of("f32[2,4,3,4]", out=4, kernel=2, stride=3, pad=1, group=4, dilation=2)],
    "max_pool": [of("f32[2,3,6,6]", kernel=3, stride=1, pad=1), of("f32[1,2,7,5]", kernel=(2, 3), round="floor")],
    "avg_pool": [of("f32[2,3,6,6]", kernel=4, stride=3, pad=2), of("f32[1,2,7,5]", kernel=(2, 3), pad=(0, 1))],
    "softmax": [of("f32[2,3,2,2]", axis=0)],
    "scale": [
        Call(("f32[2,3,4]",), {"axis": 0, "num_axes": 2, "bias": True}),
        Call(("f32[2,3,4]",), {"axis": 1}, named={"by": "f32[3,4]"}),
    ],
    "bias": [Call(("f32[2,3,4]",), {"axis": 2}, named={"by": "f32[4]"})],
    "lrn": [of("f32[2,3,5,4]", size=5, alpha=2.0, beta=0.5, region="within")],
    "linear": [of("f32[3,4,2]", out=3, axis=2)],
    "accuracy": [of("f32[2,4,3]", "i32[2,3]"), of("f32[6,3]", "i32[6]", top_k=2, per_class=True)],
    "softmax_loss": [of("f32[2,3,4]", "i32[2,4]", ignore=0, normalization="none")],
    "contrastive_loss": [of("f32[4,3]", "f32[4,3]", "i32[4]", margin=3.0)],
    "reduction": [of("f32[2,3,4]", operation="sumsq", axis=1, coeff=-0.5)],
}
EACH = [
    pytest.param(name, replace(call, training=training), id=f"{name}-{i}-{'train' if training else 'test'}")
    for name, calls in CALLS.items()
    for i, call in enumerate([*calls, *MORE.get(name, [])])
    for training in (True, False)
]


def test_every_layer_has_a_formula() -> None:
    assert FORMULAS.keys() == set(LAYERS.own)


def run(name: str, call: Call) -> tuple[Any, list[np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The context of a call, its results, its updates, and what it was fed."""
    context, results = call.build(name)
    graph = context.graph({str(i): y for i, y in enumerate(results)})
    fed = call.feeds(graph)
    if name == "filter":
        fed["x2"][1] = 0.0
    outputs, updates = evaluate(graph, fed)
    return context, [outputs[str(i)] for i in range(len(results))], updates, fed


@pytest.mark.parametrize(("name", "call"), EACH)
def test_values_are_those_of_the_definition(name: str, call: Call) -> None:
    context, found, updates, fed = run(name, call)
    held = (*context.parameters, *context.statistics, *context.left)
    given = Given({key.rpartition(".")[2]: np.asarray(fed[key]) for key in held if key in fed}, call.training)
    operands = [np.asarray(fed[f"x{i}"]) for i in range(len(call.operands)) if f"x{i}" in fed]
    settings = {**call.settings, **{key: np.asarray(fed[key]) for key in call.named}}
    if name in CHECKS and call.training:
        CHECKS[name](given, found[0], *operands, **settings)
        return
    operands += [np.zeros(call.nodes()[i].shape) for i in range(len(operands), len(call.operands))]  # `crop`'s like
    made = FORMULAS[name](given, *operands, **settings)
    wanted = made if isinstance(made, tuple) else (made,)
    assert len(found) == len(wanted)
    for value, expected in zip(found, wanted, strict=True):
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-7 if name == "erf" else 1e-12)  # to f32
    assert {key.rpartition(".")[2] for key in updates} == given.updates.keys()
    for key, value in updates.items():
        np.testing.assert_allclose(value, given.updates[key.rpartition(".")[2]], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
def test_dropout_keeps_as_many_as_it_says(ratio: float) -> None:
    _, (y,), _, fed = run("dropout", of("f32[100,100]", ratio=ratio))
    assert np.mean(y == 0) == pytest.approx(ratio, abs=4 * math.sqrt(ratio * (1 - ratio) / y.size))
    assert np.mean(y) == pytest.approx(np.mean(fed["x0"]), abs=0.1)


def test_stochastic_pooling_takes_an_element_as_often_as_it_is_large() -> None:
    """Over many windows of the same four numbers the share of each is the number's."""
    context, results = Call(("f32[1,1,2,20000]",), {"kernel": 2}, positive=True).build("stochastic_pool")
    graph = context.graph({"y": results[0]})
    fed = Call(("f32[1,1,2,20000]",)).feeds(graph)
    fed["x0"] = np.tile(np.array([[1.0, 2.0], [3.0, 4.0]]), 10_000)[None, None]
    y = evaluate(graph, fed)[0]["y"]
    for number in (1, 2, 3, 4):
        share = number / 10
        assert np.mean(y == number) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / y.size))
