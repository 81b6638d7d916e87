"""The triton target: a module that a person can read, one `@triton.jit` function a distinct kernel.

Sizes and strides are numbers in the text, pointers are its only arguments: inputs, state, and one arena in which all
else has its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...graph import Graph
from ...plan import Plan
from ...program import Decision, Program


def emit_triton(
    graph: Graph,
    plan: Plan,
    *,
    name: str,
    mode: str,
    dims: Mapping[str, int],
    ledger: tuple[Decision, ...],
) -> Program:
    """The program of a graph of kernels (`passes.fusion`) as a module of Triton functions."""
    from ..loops.storage import Storage
    from .templates import write_kernel
    from .text import RESERVED, module_text

    storage = Storage(graph, plan, write_kernel, RESERVED)
    program = storage.program("triton", name=name, mode=mode, dims=dims, ledger=ledger)
    return replace(program, source=module_text(storage, program))
