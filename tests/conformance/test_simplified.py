"""The laws on every layer that Caffe was run with: simplified and folded, a case computes what it computed before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.grammar.source import SourceErrors
from netc.passes.rules.fold_weights import fold_weights
from netc.passes.rules.simplify import simplify
from support.caffe import CONFORMANCE
from support.caffe.cases import Arrays, Built, Case, build, run

CASES = sorted((CONFORMANCE / "layers").glob("*.npz"))

pytestmark = pytest.mark.skipif(not CASES, reason=f"{CONFORMANCE} is absent")


def _values(built: Built, graph: Graph) -> Arrays:
    with np.errstate(all="ignore"):
        return run(Built(graph, built.wanted, built.state, built.feeds), evaluate)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_values_stay(path: Path) -> None:
    try:
        built = build(Case.read(path))
    except SourceErrors:
        pytest.skip("a case that is our error")
    before = _values(built, built.graph)
    for apply in (simplify, fold_weights):
        after = _values(built, apply(built.graph).verify())
        for key, value in before.items():
            scale = max(1.0, float(np.abs(value[np.isfinite(value)]).max(initial=0.0)))
            np.testing.assert_allclose(after[key], value, rtol=1e-9, atol=1e-9 * scale, err_msg=key)
