"""The C target: one file that a person can read, a function for each distinct kernel, and one for a whole step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...graph import Graph
from ...kernel import Blocks
from ...loops.domain import domain_of
from ...plan import Plan
from ...program import Program

if TYPE_CHECKING:
    from ..loops.place import MemRef
    from ..loops.written import Written


def emit_c(graph: Graph, plan: Plan, program: Program) -> Program:
    """The program with its kernels (`passes.fusion`) as a file of C."""
    from ..loops.storage import Storage
    from .file import file_text, reserved
    from .kernel import write_kernel

    storage = Storage(graph, plan, write_kernel, reserved())
    program = storage.program(program)
    return replace(program, source=file_text(storage, program))


def tile_axes(graph: Graph, plan: Plan) -> dict[str, tuple[str, ...]]:
    """The axes along which the products of a graph of kernels may be tiled, the rule's first, by their layer."""
    from ..loops.storage import Storage
    from .file import reserved
    from .kernel import axes_of, write_kernel

    found: dict[str, tuple[str, ...]] = {}

    def write(body: Graph, kind: str, blocks: Blocks, operands: Sequence[MemRef], results: Sequence[MemRef]) -> Written:
        if axes := axes_of(body, operands, results):
            found[domain_of(body).root.scope] = axes
        return write_kernel(body, kind, blocks, operands, results)

    storage = Storage(graph, plan, write, reserved())
    for kernel in plan.kernels:
        storage.kernel(kernel)
    return found
