"""Targets: each is a folder that writes the kernels of a plan as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """The program of a graph of kernels (`passes.fuse`, `passes.memory`); `passes.lower.lower` does all three.

    Raises ValueError for an unknown target.
    """
    if target != "numpy":
        raise ValueError(f"no target {target}: there is numpy")
    from .numpy import emit_numpy

    return emit_numpy(graph, plan, name=name, mode=mode, dims=dims or {}, ledger=tuple(ledger))
