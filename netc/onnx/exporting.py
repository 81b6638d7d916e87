"""Export: a net in test mode, with its weights, as one ONNX model.

The model is made of the graph of primitives that `build` leaves, before any pass: so it holds for every layer, its
values have the names of layers, and its initializers those of parameters. The batch is free where no number but sizes
depends on it (`free_batch.py`), unless N is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..compiler import ops
from ..compiler.build.dims import symbols
from ..compiler.graph import Graph, Node
from ..compiler.net import OBJECTIVE
from ..compiler.ops.base import TypeRuleError
from ..deployment.exporting import weighted
from ..driver import Compilation, compilation
from ..grammar.source import SourceErrors, UserError
from ..request import Request
from ..runtime.atomic import write_bytes
from ..weights import NONE, Weights
from .free_batch import BATCHES, FixedBatch, SizeTable
from .idioms import IDIOMS
from .library import onnx
from .rows import ROWS, element
from .writer import Writer

if TYPE_CHECKING:
    from ..runtime.state import State

# Operator set 18 (December 2022), the first whose reductions take axes as an operand; IR 8 came with it.
OPSET, IR = 18, 8
# A message of protobuf holds less than 2 GB.
MOST_BYTES = 2**31 - 2**20

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Export:
    """A net in test mode with its weights, for each of the batches that are compared (one, where it is given)."""

    made: tuple[Compilation, ...]
    state: State

    @property
    def first(self) -> Compilation:
        return self.made[0]

    @property
    def notes(self) -> list[str]:
        """What a model says otherwise than the net."""
        net, found = self.first.net, []
        if "N" in net.dims and len(self.made) == 1:
            found.append(f"the batch is {int(net.dims['N'])}, as given")
        if self.first.types is not None:
            found.append("layers of 16 bits are exported in f32")
        if net.graph.updates:
            found.append("what the net carries from pass to pass begins anew at each call")
        return found

    def keeping(self, names: Sequence[str]) -> Export:
        """The same net with these values among its outputs."""
        return replace(self, made=tuple(one.keeping(names) for one in self.made))


def export(
    file: str | Path,
    want: Request,
    weights: Weights = NONE,
    *,
    untrained: bool = False,
    notify: Callable[[str], None] = lambda text: None,
) -> Export:
    """A net of a file in test mode, of its `output`s or of those that are asked for.

    UserError where the package onnx is missing, for a net without weights that is not to be untrained, and for one that
    does not build for other batches where N is not given.
    """
    onnx()  # first, so that what is missing is said before anything is built
    want = replace(want, mode="test", deployed=True, update=False)
    first = compilation(file, want)
    name = want.net or (first.spec.net if first.spec else first.experiment.default_net())
    free = "N" not in want.dims and "N" in symbols(first.experiment.net(name).definition.body, set())
    try:
        made = tuple(_sized(first, batch) for batch in BATCHES) if free else (first,)
    except (SourceErrors, TypeRuleError) as error:
        raise _fixed(name, str(error).splitlines()[0]) from None
    return Export(made, weighted(made[0], weights=weights, untrained=untrained, notify=notify))


def _sized(first: Compilation, batch: int) -> Compilation:
    dims = {**first.request.dims, "N": batch}
    made = Compilation(first.experiment, replace(first.request, dims=dims), spec=first.spec)
    _ = made.net  # built here, where what is wrong with a batch is told
    return made


def _fixed(net: str, why: str) -> UserError:
    return UserError(f"`{net}` has no free batch: {why}; give it with --batch")


def model_of(given: Export) -> Any:
    """The model. UserError, with its place, for what has no text in ONNX, and for a net that has no free batch."""
    net = given.first.net
    held = {name: np.asarray(given.state[name]) for name in net.graph.params}
    total = sum(array.nbytes for array in held.values())
    if total > MOST_BYTES:
        raise UserError(f"the weights have {total:,} bytes; a model of ONNX holds less than 2 GB")
    try:
        return written(net.name, [one.net.graph for one in given.made], held)
    except FixedBatch as error:
        raise _fixed(net.name, str(error)) from None


def save(model: Any, path: Path) -> None:
    """Write a model, whole or not at all."""
    write_bytes(path, model.SerializeToString())


def written(name: str, graphs: Sequence[Graph], state: Mapping[str, Array]) -> Any:
    """The model of a graph of primitives, given for each batch that is compared. state: what its `param`s hold."""
    values = [_values(graph) for graph in graphs]
    graph, sizes = values[0], SizeTable(values)
    writer = Writer(sizes, state, ROWS, IDIOMS)
    writer.run(graph)
    helper = onnx("helper")

    def described(name: str, node: Node) -> Any:
        shape = [str(size) if size.slope else size.base for size in sizes.shape(node)]
        return helper.make_tensor_value_info(name, element(node.dtype), shape)

    tensors = [onnx("numpy_helper").from_array(array, name) for name, array in writer.initializers.items()]
    body = helper.make_graph(
        writer.nodes,
        name,
        [described(name, node) for name, node in graph.inputs.items()],
        [described(name, node) for name, node in graph.outputs.items()],
        tensors,
    )
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="netc",
        producer_version=__version__,
    )


def _values(graph: Graph) -> Graph:
    """The outputs, without what only gradients see."""
    values = graph.mapped(
        lambda node, inputs: inputs[0] if node.op in (ops.surrogate, ops.after) else node.with_inputs(inputs)
    )
    return Graph({name: node for name, node in values.outputs.items() if name != OBJECTIVE})
