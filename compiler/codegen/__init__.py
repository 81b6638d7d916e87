"""Targets: each is a folder that writes the kernels of a plan as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..graph import Graph
from ..plan import Plan
from ..program import Decision, Program
from ..types import TensorType

Emit = Callable[..., Program]


def emit(
    graph: Graph,
    plan: Plan,
    *,
    name: str,
    mode: str = "test",
    target: str = "numpy",
    dims: Mapping[str, int] | None = None,
    states: Mapping[str, TensorType] | None = None,
    ledger: Sequence[Decision] = (),
) -> Program:
    """The program of a graph of kernels (`passes.fuse`, `passes.memory`); `passes.lower.lower` does all three.

    states: the types of the state buffers where the graph does not read them. Raises ValueError for an unknown target.
    """
    if target != "numpy":
        raise ValueError(f"no target {target}: there is numpy")
    from .numpy import emit_numpy

    return emit_numpy(graph, plan, name=name, mode=mode, dims=dims or {}, states=states or {}, ledger=tuple(ledger))
