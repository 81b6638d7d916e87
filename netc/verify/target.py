"""Where verification meets the targets: kernels whose results are kept, and a run of a program.

In Triton's interpreter every access to memory is looked at by the way.

Programs are made by the same road as any (`Compilation.fuse`, `Compilation.lower`), and run here only, so a new target
is looked after here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler import ops
from ..compiler.graph import Graph, Node
from ..compiler.program import Program, Proofs
from ..driver import Compilation
from ..passes.unit import Unit
from ..runtime.executable import Executable
from ..runtime.state import State

if TYPE_CHECKING:
    from ..runtime.triton.interpreter.accesses import AccessFault

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
# The name of a kernel's result among the outputs of an opened program; no name of the language begins with a point.
RESULT = ".kernel"
REPLAYING = ("cuda",)  # devices on which every step but the first is a replay of it


@dataclass(frozen=True)
class Results:
    """What a run gave: outputs by name, and the buffers of state that it wrote.

    accesses: elements that kernels read and wrote; faults: what was wrong with that. unwatched: why neither is known.
    differing: what had other bits when a device replayed the program. proved: of the program as it was written.
    """

    outputs: Arrays
    updates: Arrays
    proved: Proofs
    accesses: int = 0
    faults: tuple[AccessFault, ...] = ()
    unwatched: str = ""
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
    if why := _unwatched(made):
        executable = Executable(program, state, device)
        outputs, differing = executable.twice(given) if device in REPLAYING else (executable.run(given), [])
        return Results(outputs, _written(program, state), program.proved, unwatched=why, differing=tuple(differing))
    from ..runtime.triton.run.opening import open_engine

    engine = open_engine(program, state, device, watched=True)
    outputs = engine.run(given)
    return Results(outputs, _written(program, state), program.proved, engine.accesses, tuple(engine.faults()))


def _unwatched(made: Compilation) -> str:
    """Why the accesses of a program's kernels are not looked at; empty where they are."""
    if not made.request.choice.way.arch:
        return "only Triton's interpreter (--target triton --device cpu) shows them"
    from ..runtime.triton.run.opening import open_interpreter

    return open_interpreter().unwatched


def _written(program: Program, state: State) -> Arrays:
    return {name: state.buffers[name].copy() for name in program.updates}


def kernels_of(graph: Graph) -> list[tuple[Node, dict[int, Node]]]:
    """The kernels of a graph in its order, each with the nodes that read its results, by their number."""
    return [
        (node, {user.attrs["index"]: user for user in graph.users[node] if user.op is ops.item})
        for node in graph.order
        if node.op is ops.kernel
    ]
