"""Execution of the program under test on a target: kernels whose results are kept, and a run of a program.

Programs are made by the same road as any (`Compilation.fuse`, `Compilation.lower`), and run here only, so a new target
is looked after here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler import ops
from ..compiler.graph import Graph, Node
from ..compiler.program import Program, Proofs
from ..driver import Compilation
from ..passes.unit import Unit
from ..runtime.executable import Executable
from ..runtime.state import State

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
# The name of a kernel's result among the outputs of an opened program; no name of the language begins with a point.
RESULT = ".kernel"
REPLAYING = ("cuda",)  # devices on which every step but the first is a replay of it


@dataclass(frozen=True)
class Results:
    """What a run gave: outputs by name, and the buffers of state that it wrote.

    differing: what had other bits when a device replayed the program. proved: of the program as it was written.
    """

    outputs: Arrays
    updates: Arrays
    proved: Proofs
    differing: tuple[str, ...] = ()


def opened(kernels: Unit) -> Unit:
    """The same kernels, with the results of each among the outputs: only where values lie is different."""
    graph = kernels.graph
    named = set(graph.outputs.values())
    items = [n for n in graph.order if n.op is ops.item and n not in named]
    more = {f"{RESULT}{i}": node for i, node in enumerate(items)}
    return replace(kernels, graph=graph.with_roots({**graph.outputs, **more}))


def execute(made: Compilation, program: Program, feeds: Mapping[str, Array]) -> Results:
    """Run a program, twice where steps are replayed. feeds: arrays for its inputs and for the buffers of its state."""
    state = State(made.state)
    for name, buffer in state.buffers.items():
        np.copyto(buffer, feeds[name], casting="same_kind")
    state.touch()
    given, device = {name: feeds[name] for name in program.inputs}, made.request.device
    executable = Executable(program, state, device)
    outputs, differing = executable.twice(given) if device in REPLAYING else (executable.run(given), [])
    return Results(outputs, _written(program, state), program.proved, tuple(differing))


def _written(program: Program, state: State) -> Arrays:
    return {name: state.buffers[name].copy() for name in program.updates}


def kernels_of(graph: Graph) -> list[tuple[Node, dict[int, Node]]]:
    """The kernels of a graph in its order, each with the nodes that read its results, by their number."""
    return [
        (node, {user.attrs["index"]: user for user in graph.users[node] if user.op is ops.item})
        for node in graph.order
        if node.op is ops.kernel
    ]
