"""From a graph of primitives to a program: fuse, plan the memory, write the text."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..compiler.codegen import emit
from ..compiler.graph import Graph
from ..compiler.program import Program
from .fuse import Fused, fuse
from .memory import plan


def lower(
    graph: Graph,
    *,
    name: str,
    mode: str = "test",
    target: str = "numpy",
    dims: Mapping[str, int] | None = None,
    threads: int = 1,
    fused: bool = True,
    nofuse: Collection[str] = (),
) -> Program:
    """The program that computes a graph with some threads.

    fused: False leaves every op a kernel of its own. nofuse: layers that stay apart from others. The order of sums, and
    so the last bits of results, depends on threads and on fused.
    """
    kernels = fuse(graph, enabled=fused, nofuse=nofuse, threads=threads)
    return program_of(kernels, name=name, mode=mode, target=target, dims=dims)


def program_of(
    kernels: Fused, *, name: str, mode: str = "test", target: str = "numpy", dims: Mapping[str, int] | None = None
) -> Program:
    """The program of what `fuse` made."""
    placed = plan(kernels.graph, threads=kernels.threads, inner=kernels.inner)
    return emit(kernels.graph, placed, name=name, mode=mode, target=target, dims=dims, ledger=kernels.ledger)
