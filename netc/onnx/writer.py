"""Instruction selection for ONNX: a graph of primitives becomes nodes of a model.

From the outputs back, each value gets a form: the first idiom that fits (`idioms.py`: a convolution with its bias, a
pooling), else the row of its op (`rows.py`), which every primitive has. Then the forms are written, operands first.
What depends on state alone is computed here, and becomes an initializer. A value may be written in a smaller shape that
broadcasts to its own, as elementwise nodes of ONNX broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler import ops
from ..compiler.graph import Graph, Node
from ..compiler.interpret import evaluate
from ..grammar.source import UserError
from .free_batch import BATCH, FixedBatch, Size, Sizes, SizeTable, broadcast
from .library import onnx

Array = np.ndarray[Any, Any]
Value = tuple[str, Sizes]  # a tensor's name, and its shape, which broadcasts to the node's


@dataclass(frozen=True)
class Spelling:
    """How a value is written. reads: the nodes whose values `write` asks the writer for."""

    reads: Sequence[Node]
    write: Callable[[Writer], Value]


Row = Callable[["Writer", Node], Value]
Idiom = Callable[["Writer", Node], "Spelling | None"]
# What of the state is computed beforehand has at most so many elements.
MAX_PREPARED = 1 << 25
# Ops whose values are not known here, and those that have a smaller form than an array.
_UNKNOWN = frozenset({"input", "random", "host", "kernel"})
_SMALLER = frozenset({"const", "broadcast", "iota"})


class Writer:
    """The nodes of a model as they are written.

    state: arrays of parameters and statistics by name. rows: of every op. idioms: by the op that they end in.
    """

    def __init__(
        self,
        sizes: SizeTable,
        state: Mapping[str, Array],
        rows: Mapping[str, Row],
        idioms: Mapping[str, Sequence[Idiom]],
    ) -> None:
        self.sizes, self.state, self.rows, self.idioms = sizes, state, rows, idioms
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.inputs: dict[str, Node] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._values: dict[Node, Value] = {}
        self._full: dict[Node, str] = {}
        self._sizes: dict[Sizes, str] = {}
        self._fixed: dict[Node, bool] = {}
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._at: Node | None = None

    def run(self, graph: Graph) -> None:
        """Write all that the outputs need; the values that they are get their names."""
        self.inputs = graph.inputs
        self._taken |= {*graph.inputs, *graph.params, *graph.outputs}
        made: dict[str, str] = {}
        for node in graph.order:
            sized = any(size.slope for size in self.sizes.shape(node))
            self._fixed[node] = not sized and node.op.name not in _UNKNOWN and all(self._fixed[x] for x in node.inputs)
        for name, root in graph.outputs.items():
            self._write(root)
            value = self.full(root)
            if value in made or value in self.inputs or value in self.initializers:
                self.node("Identity", [value], output=name)
            else:
                made[value] = name
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [made.get(value, value) for value in names]

    def _write(self, root: Node) -> None:
        forms: dict[Node, Spelling] = {}
        waiting = [root]
        while waiting:
            node = waiting[-1]
            if node in self._values:
                waiting.pop()
            elif node not in forms:
                forms[node] = self._form(node)
                waiting += reversed(forms[node].reads)
            else:
                self._at = node
                self._values[node] = forms[node].write(self)
                self._at = None

    def _form(self, node: Node) -> Spelling:
        shape = self.sizes.shape(node)
        if node.op is ops.input_:
            return Spelling((), lambda w: (node.attrs["name"], shape))
        if node.op is ops.param:
            name = node.attrs["name"]
            if any(size.slope for size in shape):
                raise FixedBatch(f"the state {name} has it as a size")
            return Spelling((), lambda w: (w.initializer(name, np.asarray(self.state[name])), shape))
        if self.fixed(node) and node.op.name not in _SMALLER and node.type.count <= MAX_PREPARED:
            return Spelling((), lambda w: (w.constant(w.array(node)), shape))
        for idiom in self.idioms.get(node.op.name, ()):
            form = idiom(self, node)
            if form is not None:
                return form
        if node.op.name not in self.rows:
            own = node.op.spelled.get("onnx")
            if own is None:
                raise refused(node, f"the op `{node.op.name}` of a package does not say its operator of ONNX")
            return Spelling(node.inputs, lambda w: w.elementwise(own.text, [w.loose(x) for x in node.inputs]))
        return Spelling(node.inputs, lambda w: w.rows[node.op.name](w, node))

    def fixed(self, node: Node) -> bool:
        """Whether a value depends on state alone, and its shape not on the batch."""
        return self._fixed[node]

    def array(self, node: Node) -> Array:
        """The value of a node that is fixed, computed in double precision, in the node's type."""
        graph = Graph({"value": node})
        found = evaluate(graph, {name: self.state[name] for name in graph.params})[0]["value"]
        return np.asarray(found, node.type.numpy_dtype)

    def loose(self, node: Node) -> Value:
        """A value that is written, in a shape that broadcasts to the node's."""
        return self._values[node]

    def full(self, node: Node) -> str:
        """A value that is written, in its own shape."""
        if node not in self._full:
            name, shape = self.loose(node)
            wanted = self.sizes.shape(node)
            self._full[node] = name if shape == wanted else self.node("Expand", [name, self.shape(wanted)])
        return self._full[node]

    def elementwise(self, op: str, operands: Sequence[Value], **attrs: Any) -> Value:
        """An elementwise node, which broadcasts its operands."""
        return self.node(op, [name for name, _ in operands], **attrs), broadcast(*(shape for _, shape in operands))

    def node(self, op: str, inputs: Sequence[str], *, output: str = "", **attrs: Any) -> str:
        """Add a node of one result; the name of that."""
        scope = self._at.scope if self._at is not None else ""
        output = output or self._free(f"{scope or 'net'}/{op}")
        self.nodes.append(onnx("helper").make_node(op, list(inputs), [output], name=output, **attrs))
        return output

    def _free(self, wanted: str) -> str:
        name = wanted
        while name in self._taken:
            self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            name = f"{wanted}_{self._numbers[wanted]}"
        self._taken.add(name)
        return name

    def constant(self, value: Any, dtype: str = "") -> str:
        """An initializer with this value; equal ones are one."""
        array = np.asarray(value, dtype or None)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(self._free(f"constant_{len(self._constants)}"), array)
        return self._constants[key]

    def number(self, value: float, like: Node) -> Value:
        """One number in the element type of a node, as a tensor without axes."""
        return self.constant(value, like.type.numpy_dtype.str), ()

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.asarray(list(map(int, values)), np.int64))

    def initializer(self, name: str, array: Array) -> str:
        self.initializers[name] = array
        return name

    def shape(self, sizes: Sizes, *, rest: bool = False) -> str:
        """A vector of sizes. rest: a single one that follows the batch may be -1, what is left."""
        free = [size for size in sizes if size.slope]
        if not free:
            return self.integers([size.base for size in sizes])
        if rest and len(free) == 1 and all(size.slope or size.base for size in sizes):
            return self.integers([-1 if size.slope else size.base for size in sizes])
        if sizes not in self._sizes:
            parts = [self._size(size) for size in sizes]
            self._sizes[sizes] = parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)
        return self._sizes[sizes]

    def _size(self, size: Size) -> str:
        """A vector of one size."""
        if not size.slope:
            return self.integers([size.base])
        if (size,) not in self._sizes:
            found = self._batch()
            found = found if size.slope == 1 else self.node("Mul", [found, self.integers([size.slope])])
            found = found if not size.base else self.node("Add", [found, self.integers([size.base])])
            self._sizes[size,] = found
        return self._sizes[size,]

    def _batch(self) -> str:
        if (BATCH,) not in self._sizes:
            found = [
                (name, axis)
                for name, node in self.inputs.items()
                for axis, size in enumerate(self.sizes.shape(node))
                if size == BATCH
            ]
            if not found:
                raise FixedBatch("it is the size of no input that is needed")
            name, axis = found[0]
            self._sizes[BATCH,] = self.node("Shape", [name], start=axis, end=axis + 1)
        return self._sizes[BATCH,]


def refused(node: Node, why: str) -> UserError:
    """An error about a node that has no text in ONNX."""
    place = f"{node.span}: " if node.span is not None else ""
    return UserError(f"{place}{node.scope or node.op.name}: {why}")
