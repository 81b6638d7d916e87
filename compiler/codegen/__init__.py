"""Code generation: each target is a folder that writes the kernels of a plan as text, and a row of `target.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .target import TARGETS, imported

if TYPE_CHECKING:
    from ..graph import Graph
    from ..plan import Plan
    from ..program import Decision, Program


def emit(
    graph: Graph,
    plan: Plan,
    *,
    name: str,
    mode: str = "test",
    target: str = "numpy",
    dims: Mapping[str, int] | None = None,
    ledger: Sequence[Decision] = (),
) -> Program:
    """The program of a graph of kernels that was placed in memory. ValueError for an unknown target."""
    from ..program import Program

    if target not in TARGETS:
        raise ValueError(f"no target {target}: there are {', '.join(TARGETS)}")
    begun = Program(
        name=name,
        mode=mode,
        target=target,
        dims=dict(dims or {}),
        inputs={key: node.type for key, node in graph.inputs.items()},
        outputs={key: node.type for key, node in graph.outputs.items()},
        state={key: node.type for key, node in {**graph.params, **graph.updates}.items()},
        updates=tuple(graph.updates),
        ledger=tuple(ledger),
        threads=plan.threads if TARGETS[target].threads else 1,
    )
    program: Program = imported(TARGETS[target].emitter)(graph, plan, begun)
    return program
