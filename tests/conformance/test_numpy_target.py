"""The numpy target on every layer that Caffe was run with: fused, unfused and on two threads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from cases import Array, Arrays, Case, Evaluate, build, run
from test_layers import COVERED, FOLDER, OVERWRITTEN, TOLERANCE

from netc.compiler.graph import Graph
from netc.compiler.program import StateInfo
from netc.passes.lowering.lower import lower
from netc.passes.rules.simplify import simplify
from netc.runtime.executable import Executable
from netc.runtime.state import State


def on_numpy(*, fused: bool, threads: int) -> Evaluate:
    """A graph as a program of the numpy target."""

    def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        graph = simplify(graph) if fused else graph
        program = lower(graph, name="case", threads=threads, fused=fused)
        state = State([StateInfo(name, node.type) for name, node in graph.params.items()])
        for name in graph.params:
            state[name] = feeds[name]
        outputs = Executable(program, state).run({name: feeds[name] for name in program.inputs})
        return outputs, {name: state[name].copy() for name in graph.updates}

    return evaluate


@pytest.mark.skipif(not COVERED, reason=f"{FOLDER} is absent")
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(on_numpy(fused=True, threads=1), id="fused"),
        pytest.param(on_numpy(fused=False, threads=1), id="unfused"),
        pytest.param(on_numpy(fused=True, threads=2), id="threads"),
    ],
)
@pytest.mark.parametrize("name", COVERED)
def test_case(name: str, how: Evaluate) -> None:
    built = build(Case.read(FOLDER / f"{name}.npz"))
    got = run(built, how)
    for key, (caffe, want) in built.wanted.items():
        if caffe in OVERWRITTEN.get(name, ()):
            continue
        scale = np.nanmax(np.abs(want), initial=0.0)
        np.testing.assert_allclose(got[key], want, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=caffe)
