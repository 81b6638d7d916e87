"""Translation of a model into the syntax tree of `.net`: values, statements, and types by the layers' own rules.

Each value of the model is known (weights, constants, sizes and what is computed of them) or a tensor of the net. A
tensor has an expression, and a node of the graph for each of two batches, made by calling the layers themselves: so
types are theirs, and a size that follows the batch is one that differs. Rows (`import_*.py`) say what an operator is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..compiler import expr, ops
from ..compiler.caffe import writer
from ..compiler.graph import Node, at
from ..compiler.layers import LAYERS, building
from ..compiler.schema.settings import Mismatch, kind_of
from ..compiler.types import LARGEST
from ..grammar import tree
from ..grammar.actions import RESERVED
from ..grammar.source import Span, shown
from ..runtime.onnx.model import ModelNode
from .import_names import ImportedNames
from .import_values import Array, Known, LayerTyping, Tensor, Untranslated, Value, plain_setting, shortest

LONGEST_PIPE = 8
DEEPEST = 3  # of arithmetic in one expression


@dataclass
class Translator:
    """The net while it is made.

    batches: how many records the values are typed for. uses: how often each is read. budget: how many elements may
    still be computed of what is known. dropped: parameters that nothing reads any more.
    """

    place: Span
    batches: tuple[int, ...]
    uses: Mapping[str, int]
    outputs: frozenset[str]
    opset: int
    statements: list[tree.AnyStatement] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    node: ModelNode = field(default_factory=lambda: ModelNode("", "", "", (), (), {}))
    names: ImportedNames = field(default_factory=ImportedNames)
    params: dict[int, tuple[Tensor, Array]] = field(default_factory=dict)
    budget: int = 0
    dropped: set[str] = field(default_factory=set)

    def label(self, source: str) -> str:
        """The name of a layer with parameters, by that of its weights or of the node."""
        return self.names.label(source, self.node)

    # Operands

    def known(self, index: int) -> Known | None:
        """An operand that is known; None where it is left out. Untranslated where it is computed by the net."""
        name = self.operand_name(index)
        if not name:
            return None
        value = self.values[name]
        if isinstance(value, Tensor):
            raise Untranslated(f"operand {index + 1} is computed by the net, netc wants a constant")
        return value

    def operand_name(self, index: int) -> str:
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def operand(self, index: int) -> Value:
        name = self.operand_name(index)
        if not name:
            raise Untranslated(f"operand {index + 1} is missing")
        return self.values[name]

    def tensor(self, index: int) -> Tensor:
        """An operand as a tensor of the net; one that is known becomes a `param`."""
        return self.as_tensor(self.operand(index))

    def as_tensor(self, value: Value) -> Tensor:
        return value if isinstance(value, Tensor) else self.param(value)

    def param(self, value: Known) -> Tensor:
        """Numbers that are no layer's as a parameter of the net. Those without a name of their own are not learned."""
        array = value.same
        if id(array) in self.params:
            return self.params[id(array)][0]
        if array.dtype.kind not in "fiub":
            raise Untranslated(f"a constant is of {array.dtype.name}")
        held = np.asarray(array, np.float32, order="C")
        if array.dtype.kind != "f" and not np.array_equal(held.astype(array.dtype), array):
            raise Untranslated("a constant has whole numbers that f32 does not hold")
        name = self.names.word(value.source or "constant")
        place = self.place
        args = () if value.source and array.dtype.kind == "f" else (writer.arg("lr", 0, place),)
        type_ = writer.type_([int(n) for n in array.shape], place)
        filler = writer.name("constant", place)
        self.statements.append(tree.Param(place, (), args, writer.name(name, place), type_, filler))
        self.weights[name] = held
        node = ops.param(name=name, shape=array.shape, dtype="f32")
        made = Tensor(writer.name(name, place), (node,) * len(self.batches))
        if array.dtype.kind != "f":
            made = self.call("cast", [made], to={"b": "bool"}.get(array.dtype.kind, "i32"))
        self.params[id(array)] = made, array  # which lives as long as its number
        return made

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node; a text as such, numbers of a list as a tuple."""
        return self.node.attrs.get(name, default)

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        found = self.attr(name, tuple(default))
        if not isinstance(found, tuple) or not all(isinstance(n, int) for n in found):
            raise Untranslated(f"`{name}` is no list of whole numbers")
        return found

    def integer(self, name: str, default: int) -> int:
        found = self.attr(name, default)
        if not isinstance(found, int):
            raise Untranslated(f"`{name}` is no whole number")
        return found

    def number(self, name: str, default: float) -> float:
        found = self.attr(name, default)
        if not isinstance(found, int | float) or not math.isfinite(found):
            raise Untranslated(f"`{name}` is no number")
        return shortest(found)

    # Statements

    def bound(self, x: Tensor) -> tree.Name:
        """A tensor by name: one that is an expression so far is bound."""
        if isinstance(x.value, tree.Name):
            return x.value
        name = writer.name(self.names.word(x.title or "value"), self.place)
        self.statements.append(writer.bind([name], x.value, self.place))
        x.value = name
        return name

    def call(
        self,
        layer: str,
        operands: Sequence[Tensor | float],
        positional: Sequence[Any] = (),
        *,
        label: str = "",
        weights: Mapping[str, Array] | None = None,
        hidden: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Tensor:
        """A layer on tensors, the first of which may be piped into it.

        positional: settings by their place; hidden: those that hold anyway, which are not written. weights: of a layer
        that has a label.
        """
        settings = {name: value for name, value in settings.items() if value is not None}
        named = [name for name, p in LAYERS[layer].signature.parameters.items() if p.kind is p.KEYWORD_ONLY]
        whole = {**dict(zip(named, positional, strict=False)), **settings, **(hidden or {})}
        nodes = self.typed(layer, operands, whole, label, weights)
        place = self.place
        args = [writer.arg("", value, place) for value in positional]
        for name, value in settings.items():
            said: Any = writer.name("none", place) if name == "bias" and value is False else value
            args.append(writer.arg(name.rstrip("_"), said, place))
        first, *rest = operands
        others = [self._operand(x) for x in rest]
        if isinstance(first, Tensor) and not others:
            step = tree.Call(place, writer.name(layer, place), tuple(args), self._written(label))
            return Tensor(self._piped(first, step), nodes, self._title())
        both = [self._operand(first), *others]
        value = writer.call(layer, [*(tree.Arg(place, None, one) for one in both), *args], place)
        return Tensor(value, nodes, self._title())

    def _written(self, label: str) -> tree.Name | tree.String | None:
        """A label as a word, where it is one."""
        if not label:
            return None
        word = label.isidentifier() and label.isascii() and label not in RESERVED
        return writer.name(label, self.place) if word else writer.text(label, self.place)

    def _title(self) -> str:
        return self.node.outputs[0] if self.node.outputs else "value"

    def _operand(self, x: Tensor | float) -> tree.Expr:
        return self.bound(x) if isinstance(x, Tensor) else writer.constant(shortest(x), self.place)

    def _inlined(self, x: Tensor | float) -> tree.Expr:
        """A side of arithmetic: a short expression that is read once stands there itself."""
        if isinstance(x, Tensor) and isinstance(x.value, tree.Binary) and self._once(x) and _depth(x.value) < DEEPEST:
            return x.value
        return self._operand(x)

    def biased(self, x: Tensor, bias: Array) -> Tensor | None:
        """The layer whose result x is, with a bias; None where x is read by others, or is of no such layer."""
        if not x.unbiased or not self._once(x) or not isinstance(x.value, tree.Pipe):
            return None
        *before, last = x.value.calls
        args = tuple(arg for arg in last.args if arg.name is None or arg.name.name != "bias")
        self.weights[f"{x.unbiased}.bias"] = np.asarray(bias, np.float32, order="C")
        value = replace(x.value, calls=(*before, replace(last, args=args)))
        return Tensor(value, x.nodes, self._title())

    def rescaled(self, x: Tensor, by: Array) -> Tensor | None:
        """A multiple of a multiple, as one; what is multiplied by 1 is left as it is."""
        if x.scaled is None or not self._once(x) or x.scaled[1].shape != by.shape:
            return None
        inner, share, name = x.scaled
        self.dropped.add(name)
        del self.weights[name]
        both = share * by
        return inner if np.allclose(both, 1, rtol=0, atol=1e-6) else self.multiple(inner, both)

    def multiple(self, x: Tensor, by: Array) -> Tensor:
        """x times numbers that are no parameter of the model."""
        numbers = self.param(Known((by,) * len(self.batches)))
        y = self.binary("*", x, numbers)
        y.scaled = (x, by, self.bound(numbers).name)
        return y

    def gates(self, gate: Tensor, layer: str, x: Tensor) -> bool:
        """Whether a value that is read once is a layer of x, without settings."""
        value = gate.value
        if not isinstance(value, tree.Pipe) or not self._once(gate) or not isinstance(x.value, tree.Name):
            return False
        return value.value == x.value and [(one.callee.name, one.args) for one in value.calls] == [(layer, ())]

    def _piped(self, first: Tensor, step: tree.Call) -> tree.Expr:
        """A call after what comes before it; of a long pipe, or one that others read, after its name."""
        value = first.value
        if isinstance(value, tree.Pipe) and len(value.calls) < LONGEST_PIPE and self._once(first):
            first.value = step  # read once: nobody asks for it again
            return tree.Pipe(self.place, value.value, (*value.calls, step))
        if isinstance(value, tree.Binary | tree.Unary) and self._once(first):
            return tree.Pipe(self.place, value, (step,))
        if isinstance(value, tree.Call) and self._once(first):
            return tree.Pipe(self.place, value, (step,))
        return tree.Pipe(self.place, self.bound(first), (step,))

    def _once(self, x: Tensor) -> bool:
        return self.uses.get(x.title, 1) <= 1 and x.title not in self.outputs

    def typed(
        self,
        layer: str,
        operands: Sequence[Any],
        settings: Mapping[str, Any],
        label: str = "",
        weights: Mapping[str, Array] | None = None,
    ) -> tuple[Node, ...]:
        """The nodes of a layer's result, for each batch; TypeRuleError where it refuses. Its weights are kept."""
        weights = weights or {}
        entry = LAYERS[layer]
        keys = entry.signature.parameters
        how = {key if key in keys else f"{key}_": plain_setting(value) for key, value in settings.items()}
        for key, value in how.items():
            taken = kind_of(keys[key].annotation)
            try:
                taken.convert(value)
            except Mismatch:
                raise Untranslated(f"`{key}` of {layer} takes {taken.text}, not {shown(value)}") from None
        found = []
        for k in range(len(self.batches)):
            context = LayerTyping(label)
            given = [x.nodes[k] if isinstance(x, Tensor) else x for x in operands]
            with building(context), at(None, label):
                made = entry.function(*given, **how)
            assert isinstance(made, Node)
            found.append(made)
        for name, shape in context.shapes.items():
            if name not in weights or weights[name].shape != shape:
                has = weights[name].shape if name in weights else "not there"
                raise Untranslated(f"the {name} is {has}, {list(shape)} is wanted")
            self.weights[f"{label}.{name}"] = np.asarray(weights[name], np.float32, order="C")
        return tuple(found)

    def binary(self, sign: str, a: Value | float, b: Value | float) -> Tensor:
        """`a + b` and its like; what is one number is written as such."""
        left, right, sides = self._sides(a, b)
        function = {"+": expr.add, "-": expr.sub, "*": expr.mul, "/": expr.div, "**": expr.pow}[sign]
        nodes = tuple(function(*one) for one in sides)
        texts = [self._inlined(x) for x in (left, right)]
        value = tree.Binary(self.place, sign, texts[0], texts[1], self.place)  # type: ignore[arg-type]
        return Tensor(value, nodes, self._title())

    def compare(self, relation: str, a: Value | float, b: Value | float) -> Tensor:
        """`a < b` and its like."""
        left, right, sides = self._sides(a, b)
        pick = {"<": lambda x, y: expr.less(x, y), ">": lambda x, y: expr.less(y, x), "==": expr.equal}[relation]
        texts = [self._operand(x) for x in (left, right)]
        value = tree.Compare(self.place, relation, texts[0], texts[1], self.place)  # type: ignore[arg-type]
        return Tensor(value, tuple(pick(*one) for one in sides), self._title())

    def _sides(self, a: Value | float, b: Value | float) -> tuple[Any, Any, list[list[Any]]]:
        """Both sides of arithmetic, and their nodes or numbers for each batch."""
        both = [self._side(x, other) for x, other in ((a, b), (b, a))]
        given = [[x.nodes[k] if isinstance(x, Tensor) else x for x in both] for k in range(len(self.batches))]
        return both[0], both[1], given

    def scalar(self, x: Value | float) -> float | None:
        """A value that is one number, which the language can write."""
        if isinstance(x, Known) and x.arrays[0].size == 1 and x.arrays[0].dtype.kind in "fiu":
            number = float(x.same.reshape(-1)[0])
            return number if abs(number) <= LARGEST["f32"] else None
        return float(x) if isinstance(x, int | float) else None

    def _side(self, x: Value | float, other: Value | float) -> Tensor | float:
        number = self.scalar(x)
        # A number takes the shape of the other side, which has as many axes or more, unless it is a number as well.
        narrow = not isinstance(x, Known) or (isinstance(other, Tensor) and x.arrays[0].ndim <= other.rank)
        if number is not None and isinstance(other, Tensor) and narrow:
            return number
        return self.as_tensor(x) if not isinstance(x, int | float) else x

    def parts(self, x: Tensor, axis: int, cuts: Sequence[int], wanted: Sequence[bool]) -> list[Tensor]:
        """The parts of x between cuts along an axis; those that are not wanted get names that begin with `_`."""
        titles = [self.names.word(self._title()) if use else f"_{self.names.word('rest')}" for use in wanted]
        places = [writer.name(title, self.place) for title in titles]
        source = self.bound(x)
        settings = [writer.arg("at", list(cuts), self.place)]
        settings += [] if axis == 1 else [writer.arg("axis", axis, self.place)]
        value = writer.call("split", [tree.Arg(self.place, None, source), *settings], self.place)
        self.statements.append(writer.bind(places, value, self.place))
        edges = [[0, *cuts, shape[axis]] for shape in x.shapes]
        return [
            Tensor(
                name,
                tuple(expr.cut(node, axis, edge[i], edge[i + 1]) for node, edge in zip(x.nodes, edges, strict=True)),
            )
            for i, name in enumerate(places)
        ]

    def cut(self, x: Tensor, axis: int, start: int, stop: int) -> Tensor:
        """x[start:stop] along an axis whose size does not follow the batch."""
        size = x.size(axis)
        if not 0 <= start < stop <= size:
            raise Untranslated(f"{start}:{stop} of an axis of {size} is empty, which no tensor of netc is")
        cuts = [edge for edge in (start, stop) if 0 < edge < size]
        if not cuts:
            return x
        edges = [0, *cuts, size]
        wanted = [edge == start for edge in edges[:-1]]
        return self.parts(x, axis, cuts, wanted)[wanted.index(True)]

    def zeros_added(self, x: Tensor, sizes: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """x, broadcast to a shape with the batch in it by adding zeros."""
        place = self.place
        items = tuple(one if isinstance(one, tree.Node) else writer.constant(one, place) for one in sizes)
        zeros = writer.call("full", [writer.arg("", tree.List(place, items), place)], place)  # type: ignore[arg-type]
        nodes = tuple(
            expr.add(node, ops.const(value=0.0, shape=shape, dtype="f32"))
            for node, shape in zip(x.nodes, shapes, strict=True)
        )
        return Tensor(tree.Binary(place, "+", self.bound(x), zeros, place), nodes, self._title())

    def reshaped(self, x: Tensor, shapes: Sequence[Sequence[int]]) -> Tensor:
        """x in a shape that is given for each batch."""
        if all(tuple(a) == b for a, b in zip(shapes, x.shapes, strict=True)):
            return x
        sizes: list[int] = []
        for axis, found in enumerate(zip(*shapes, strict=True)):
            kept = axis < x.rank and all(shape[axis] == n for shape, n in zip(x.shapes, found, strict=True))
            sizes.append(found[0] if len(set(found)) == 1 else 0 if kept else -1)
        if sizes.count(-1) > 1:
            raise Untranslated("two axes of the result follow the batch")
        first = next((size for size in sizes if size != 1), 1)
        if len(sizes) == 2 and sizes[0] == 0 and first == 0 and x.rank > 2:
            return self.call("flatten", [x])
        return self.call("reshape", [x], [sizes])


def _depth(value: tree.Expr) -> int:
    return 1 + max(map(_depth, (value.left, value.right))) if isinstance(value, tree.Binary) else 0
