"""The triton target: a module that a person can read, one `@triton.jit` function a distinct kernel.

Sizes and strides are numbers in the text, pointers are its only arguments: inputs, state, and one arena in which all
else has its place.
"""

from __future__ import annotations

from collections.abc import Mapping

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
    """The program of a graph of kernels (`passes.blocks`) as a module of Triton functions."""
    from ..loops.storage import Module
    from .text import module_text

    module = Module(graph, plan)
    for kernel in plan.kernels:
        module.kernel(kernel)
    for node in (*graph.outputs.values(), *graph.updates.values()):
        module.value(node)
    inputs = {n.attrs["name"]: n.type for n in graph.inputs.values()}
    state = {n.attrs["name"]: n.type for n in graph.params.values()}
    state |= {key: node.type for key, node in graph.updates.items()}
    functions, buffers, arena = module.tables()
    return Program(
        name=name,
        mode=mode,
        target="triton",
        dims=dict(dims),
        inputs=inputs,
        outputs={key: node.type for key, node in graph.outputs.items()},
        state=state,
        updates=tuple(graph.updates),
        functions=functions,
        launches=tuple(module.launches),
        buffers=buffers,
        arena_bytes=arena,
        source=module_text(module, functions, buffers, name=name, mode=mode, dims=dims, arena=arena),
        ledger=ledger,
        constants=module.constants,
    )
