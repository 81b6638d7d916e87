"""Code generation: each target is a folder that writes the kernels of a plan as text, and a row of `target.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    if target not in TARGETS:
        raise ValueError(f"no target {target}: there are {', '.join(TARGETS)}")
    write = imported(TARGETS[target].emitter)
    program: Program = write(graph, plan, name=name, mode=mode, dims=dims or {}, ledger=tuple(ledger))
    return replace(program, target=target)
