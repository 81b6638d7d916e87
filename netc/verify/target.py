"""Where verification meets the targets: graph -> kernels -> program -> results, by the same road as any program.

Nothing else in this package knows how a program is made or run, so a new target is looked after here only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler import ops
from ..compiler.graph import Graph, Node
from ..compiler.program import Program
from ..driver import Compilation
from ..passes.fuse import Fused
from ..runtime.executable import Executable
from ..runtime.state import State

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
# The name of a kernel's result among the outputs of an opened program; no name of the language begins with a point.
RESULT = ".kernel"


@dataclass(frozen=True)
class Results:
    """What a run gave: outputs by name, and the buffers of state that it wrote."""

    outputs: Arrays
    updates: Arrays


def fused(made: Compilation, graph: Graph) -> Fused:
    """A graph of primitives as the kernels of the compilation's target."""
    return made._fused(graph)


def lowered(made: Compilation, kernels: Fused) -> Program:
    """The program of kernels for the compilation's target."""
    return made._lowered(kernels)


def opened(kernels: Fused) -> Fused:
    """The same kernels, with the results of each among the outputs: only where values lie is different."""
    graph = kernels.graph
    named = set(graph.outputs.values())
    items = [n for n in graph.order if n.op is ops.item and n not in named]
    more = {f"{RESULT}{i}": node for i, node in enumerate(items)}
    return replace(kernels, graph=graph.with_roots({**graph.outputs, **more}))


def execute(made: Compilation, program: Program, feeds: Mapping[str, Array]) -> Results:
    """Run a program once. feeds: arrays for its inputs and for the buffers of its state."""
    state = State(made.state)
    for name, buffer in state.buffers.items():
        np.copyto(buffer, feeds[name], casting="same_kind")
    state.touch()
    outputs = Executable(program, state, made.request.device).run({name: feeds[name] for name in program.inputs})
    return Results(outputs, {name: state.buffers[name].copy() for name in program.updates})


def kernels_of(graph: Graph) -> list[tuple[Node, dict[int, Node]]]:
    """The kernels of a graph in its order, each with the nodes that read its results, by their number."""
    return [
        (node, {user.attrs["index"]: user for user in graph.users[node] if user.op is ops.item})
        for node in graph.order
        if node.op is ops.kernel
    ]
