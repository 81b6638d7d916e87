"""Targets: each is a folder that writes the kernels of a plan as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from ..graph import Graph
from ..plan import Plan
from ..program import Decision, Program

# What writes the program of a target: a function in a folder here, imported when it is asked for.
TARGETS = {"numpy": "emit_numpy", "triton": "emit_triton"}


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
    """The program of a graph of kernels; `passes.lower.lower` fuses and places them before.

    Raises ValueError for an unknown target.
    """
    if target not in TARGETS:
        raise ValueError(f"no target {target}: there are {', '.join(TARGETS)}")
    write: Callable[..., Program] = getattr(import_module(f".{target}", __name__), TARGETS[target])
    return write(graph, plan, name=name, mode=mode, dims=dims or {}, ledger=tuple(ledger))
