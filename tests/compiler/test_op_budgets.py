"""The error budget of `netc verify` for each primitive: rounding stays within it, a wrong result does not."""

from __future__ import annotations

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.ops.rounding import Arithmetic, Bounded
from netc.verification.budget import analyse
from netc.verification.compare import Compared, compare
from support.op_samples import SAMPLES, Sample

GROUPS = {"kernel", "item", "host"}
FED = {"input", "param"}
CASES = [
    pytest.param(sample, id=f"{name}-{i}")
    for name, samples in SAMPLES.items()
    if name not in GROUPS | FED
    for i, sample in enumerate(samples)
]
ARITHMETIC = Arithmetic()


def test_each_primitive_has_a_rule() -> None:
    assert {name for name, op in ops.OPS.own.items() if op.rounding is None} == GROUPS


def chained(sample: Sample) -> Node:
    """The op on operands that carry errors of their own."""
    nodes = [ops.mul(x, ops.exp(ops.mul(x, x))) if x.type.is_float else x for x in sample.nodes()]
    return sample.call(*nodes)


def compared(node: Node, feeds: dict[str, np.ndarray], factor: float = 1.0) -> Compared:
    """The op computed in the types that it declares, times a factor, against its budget."""
    graph = Graph({"y": node})
    got = evaluate(graph, feeds, wide=False)[0]["y"]
    found: list[Compared] = []

    def seen(of: Node, want: Bounded) -> Bounded:
        given = got if factor == 1.0 else got * np.asarray(factor, got.dtype)
        found.append(compare(of, want, given, ARITHMETIC, name="y", layer="", kind="value"))
        return want

    analyse(graph, feeds, ARITHMETIC, [node], seen)
    return found[0]


@pytest.mark.parametrize("sample", CASES)
def test_rounding_is_within_the_budget(sample: Sample) -> None:
    for seed in range(5):
        node = chained(sample)
        feeds = sample.feeds(seed)
        held = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in feeds.items()}
        held |= {k: np.full(n.shape, 0.3, np.float32) for k, n in Graph({"y": node}).params.items()}
        found = compared(node, held)
        assert found.ok, str(found)
        assert found.flips == 0
        assert found.ratio < 1.0
        if node.type.is_float and node.op.name not in ("floor", "const"):
            assert not compared(node, held, 1.003).ok, "an error of three in a thousand is not seen"


def bounded(node: Node, feeds: dict[str, np.ndarray]) -> Bounded:
    """The value of a node with its bounds."""
    found: list[Bounded] = []

    def seen(_: Node, want: Bounded) -> Bounded:
        found.append(want)
        return want

    analyse(Graph({"y": node}), feeds, ARITHMETIC, [node], seen)
    return found[0]


def test_a_long_sum_is_within_its_budget_in_any_order() -> None:
    rng = np.random.default_rng(0)
    halves = np.concatenate([rng.random(100_000), -rng.random(100_000)])
    for values in (rng.standard_normal(200_000), rng.random(200_000), rng.standard_normal(200_000) + 100, halves):
        x = values.astype(np.float32)
        node = ops.sum_(ops.input_(name="x", shape=x.shape, dtype="f32"), axes=(0,))
        want = bounded(node, {"x": x})
        assert want.error is not None
        one_by_one = np.cumsum(x, dtype=np.float32)[-1]
        error = abs(float(one_by_one) - float(want.value[0]))
        assert 0 < error <= float(want.error[0]), "also without the factor of safety"
        assert float(want.error[0]) < 3e-3 * max(abs(float(want.value[0])), float(np.sqrt((values**2).sum())))


def test_half_precision_has_its_own_unit() -> None:
    x = ops.input_(name="x", shape=(64,), dtype="f32")
    node = ops.mul(ops.cast(x, dtype="f16"), ops.cast(x, dtype="f16"))
    feeds = {"x": np.random.default_rng(0).standard_normal(64).astype(np.float32)}
    assert compared(node, feeds).ok
    assert not compared(node, feeds, 1.02).ok
