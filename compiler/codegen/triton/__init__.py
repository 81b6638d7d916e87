"""The triton target: a module that a person can read, one `@triton.jit` function a distinct kernel.

Sizes and strides are numbers in the text, pointers are its only arguments: inputs, state, and one arena in which all
else has its place.
"""

from __future__ import annotations

from dataclasses import replace

from ...graph import Graph
from ...plan import Plan
from ...program import Program


def emit_triton(graph: Graph, plan: Plan, program: Program) -> Program:
    """The program with its kernels (`passes.fusion`) as a module of Triton functions."""
    from ..loops.storage import Storage
    from .templates import write_kernel
    from .text import RESERVED, module_text

    storage = Storage(graph, plan, write_kernel, RESERVED)
    program = storage.program(program)
    return replace(program, source=module_text(storage, program))
