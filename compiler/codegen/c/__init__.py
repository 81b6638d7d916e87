"""The C target: one file that a person can read, a function for each distinct kernel, and one for a whole step."""

from __future__ import annotations

from dataclasses import replace

from ...graph import Graph
from ...plan import Plan
from ...program import Program


def emit_c(graph: Graph, plan: Plan, program: Program) -> Program:
    """The program with its kernels (`passes.fusion`) as a file of C."""
    from ..loops.storage import Storage
    from .file import file_text, reserved
    from .kernel import write_kernel

    storage = Storage(graph, plan, write_kernel, reserved())
    program = storage.program(program)
    return replace(program, source=file_text(storage, program))
