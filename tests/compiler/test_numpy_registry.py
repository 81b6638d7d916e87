"""Every primitive through the numpy target, against the oracle: whole and in tiles, alone and inside a kernel."""

from __future__ import annotations

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.numpy import kernel  # noqa: F401  (enters the spellings)
from netc.compiler.codegen.numpy.body import SPELL
from netc.compiler.graph import Graph, Node
from netc.compiler.types import TensorType
from support.numpy_program import assert_like_oracle, small_tiles
from support.op_samples import SAMPLES, Sample

# What is no computation in a kernel: operands, numbers, what is only read through; and ops that hold graphs, or that
# stages of other targets make.
READ_THROUGH = {"input", "param", "const", "surrogate", "after"}
GROUPS = {"kernel", "item", "host", "partial", "winograd_data", "winograd_weights", "winograd_product"}
CASES = [
    pytest.param(sample, id=f"{name}-{i}")
    for name, samples in SAMPLES.items()
    if name not in GROUPS
    for i, sample in enumerate(samples)
]


def test_each_primitive_is_spelled() -> None:
    missing = set(ops.OPS.own) - GROUPS - READ_THROUGH - set(SPELL)
    assert not missing, f"compiler/codegen/numpy does not spell {', '.join(sorted(missing))}"


def _graph(sample: Sample, *, wrapped: bool) -> Graph:
    nodes = sample.nodes()
    if wrapped:
        nodes = [ops.add(x, x) if x.type.is_float else x for x in nodes]
    y = sample.call(*nodes)
    outputs: dict[str, Node] = {"y": y}
    if wrapped and isinstance(y.result, TensorType) and y.type.is_float:
        outputs["z"] = ops.mul(ops.neg(y), y)
    return Graph(outputs)


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "inside"])
@pytest.mark.parametrize("sample", CASES)
def test_like_oracle(sample: Sample, wrapped: bool) -> None:
    graph = _graph(sample, wrapped=wrapped)
    feeds = sample.feeds()
    feeds |= {name: np.random.default_rng(1).random(node.shape, np.float32) for name, node in graph.params.items()}
    feeds = {name: feeds[name].astype(node.type.numpy_dtype) for name, node in {**graph.inputs, **graph.params}.items()}
    assert_like_oracle(graph, feeds=feeds)
    with small_tiles():
        for threads in (1, 2):
            assert_like_oracle(graph, feeds=feeds, threads=threads)
            assert_like_oracle(graph, feeds=feeds, threads=threads, fused=False)
