"""Equality across passes: what a graph computes before a pass, it computes after it, within 1e-9 in double precision.

`check_passes` is called with the graphs of tests here and with the net of every example.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import Arrays, evaluate
from netc.compiler.program import StateInfo
from netc.passes.manager import Pass

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-9


def feeds_for(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Values for all inputs and state, each drawn by its name: other graphs over the same names get the same."""
    return {name: _drawn(name, node, seed) for name, node in {**graph.params, **graph.inputs}.items()}


def _drawn(name: str, node: Node, seed: int) -> Array:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if name == ".step":
        return np.array(2)
    if name == ".rate":
        return np.array(0.1)
    if node.dtype == "bool":
        return rng.random(node.shape) < 0.5
    if not node.type.is_float:
        return rng.integers(0, 3, node.shape)
    if name.startswith(".history") or name.endswith((".variance", ".factor")):
        return rng.uniform(0.5, 1.5, node.shape)
    # Weights of unit gain, so that deep nets neither vanish nor overflow.
    gain = max(1, math.prod(node.shape[1:])) ** -0.5 if node.op is ops.param and len(node.shape) > 1 else 1.0
    return rng.standard_normal(node.shape) * gain


def flat_feeds(feeds: Mapping[str, Array], layout: Iterable[StateInfo]) -> dict[str, Array]:
    """The flat buffers in which a layout puts the parameters."""
    parts: dict[str, list[StateInfo]] = {}
    for info in layout:
        if info.buffer != info.name:
            parts.setdefault(info.buffer, []).append(info)
    found = {}
    for buffer, members in parts.items():
        flat = np.zeros(sum(i.type.count for i in members))
        for info in members:
            value = feeds[info.name] if info.name in feeds else np.zeros(info.type.shape)
            flat[info.offset : info.offset + info.type.count] = np.ravel(value)
        found[buffer] = flat
    return found


def differences(before: Arrays, after: Arrays) -> list[str]:
    """What differs by more than the tolerance, relative to the largest finite element, among names that both have."""
    found = []
    for name in before.keys() & after.keys():
        a, b = before[name], after[name]
        finite = np.abs(a[np.isfinite(a)]) if a.dtype.kind == "f" else np.abs(a.astype(np.float64))
        scale = max(1.0, float(finite.max(initial=0.0)))
        if a.shape != b.shape or not np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True):
            found.append(f"{name}: {a.ravel()[:4]} before, {b.ravel()[:4]} after")
    return found


def check_passes(graph: Graph, passes: Iterable[tuple[str, Pass]], feeds: Mapping[str, Any]) -> Graph:
    """Run the passes, comparing after each; the graph after the last. feeds: for the inputs and state of all stages."""
    graph.verify()
    before = evaluate(graph, feeds)
    for name, apply in passes:
        graph = apply(graph).verify()
        after = evaluate(graph, feeds)
        wrong = [*differences(before[0], after[0]), *differences(before[1], after[1])]
        assert not wrong, f"{name} changed {'; '.join(wrong)}"
        before = after
    return graph
