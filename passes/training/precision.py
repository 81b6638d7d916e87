"""Mixed precision: products of numbers of 16 bits summed in f32, layers that hand on 16 bits, everything else in f32.

`types_of` decides for each layer, `precision` writes the casts into a graph of f32 after the gradient and the update:
only there is it known what a product of the backward pass reads, and the gradients of parameters, which nobody but the
update reads, are never narrowed. What a primitive and a layer do with 16 bits they say themselves (`policy`).
Arithmetic on 16 bits, which a `.net` file may ask for, gets the same meaning. So only choices, movement, casts and
operands of products are of 16 bits, on every target. In numbers of unlimited precision the pass changes nothing.

Relies on Micikevicius et al., "Mixed precision training", 2018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from ...compiler.layers import LAYERS
from ...compiler.net import Net
from ...compiler.ops.source import splat
from ...compiler.types import TensorType
from ..fusion.materialize import flat_view
from ..manager import Pass
from ..rules.algebra import CASTS, REPEATED
from ..rules.rewrite import Ledger, Match, Rule, of, rewrite
from .flatten import TOGETHER, part

Precision = Literal["f32", "bf16", "f16"]
NARROW = frozenset({"bf16", "f16"})


@dataclass(frozen=True)
class Types:
    """The type in which each layer (scope) takes its operands.

    between: the layers that are arithmetic of the file's. used: whether any value of the net is of 16 bits by itself.
    """

    of: Mapping[str, str] = field(default_factory=dict)
    between: frozenset[str] = frozenset()
    used: bool = False

    @property
    def narrow(self) -> frozenset[str]:
        """The types of 16 bits that layers have."""
        return frozenset(self.of.values()) & NARROW


def types_of(net: Net, wanted: Precision = "f32") -> Types:
    """The types of a net's layers: what `@dtype` says of one, else its kind's policy in the wanted precision."""
    kinds = {row.name: row.kind for row in net.layers}
    readers: dict[str, set[str]] = {name: set() for name in kinds}
    for node in net.graph.order:
        for x in node.inputs:
            if x.scope in readers and node.scope != x.scope:
                readers[x.scope].add(node.scope)
    found: dict[str, str] = {}
    layers = {name: LAYERS.met(kind) for name, kind in kinds.items()}
    # What is no layer's is arithmetic of the file's, too.
    policies = {name: layer.policy if layer else "between" for name, layer in layers.items()}
    between = frozenset(name for name, policy in policies.items() if policy == "between")
    for name in reversed(kinds):
        said = [word.removeprefix("dtype:") for word in net.directives.get(name, ()) if word.startswith("dtype:")]
        if said:
            found[name] = said[0]
        elif name in between:
            found[name] = wanted if any(found.get(reader) in NARROW for reader in readers[name]) else "f32"
        else:
            found[name] = wanted if policies[name] == "narrow" else "f32"
    return Types(found, between, any(_is_narrow(node) for node in net.graph.order))


def _is_narrow(node: Node) -> bool:
    return isinstance(node.result, TensorType) and node.dtype in NARROW


def precision(types: Types) -> Pass:
    """A pass after which layers compute in their types. The graph is one of f32, after `flatten` and `simplify`."""

    def run(graph: Graph, ledger: Ledger | None = None) -> Graph:
        """Cast the operands of products, and what layers of 16 bits hand on."""
        return rewrite(_widened(_Narrowing(graph, types).run()), (*CASTS, *REPEATED, *EXACT), ledger)

    return run


def _widened(graph: Graph) -> Graph:
    """Arithmetic on 16 bits as arithmetic in f32 whose result is rounded."""
    made: dict[Node, Node] = {}
    for node in graph.order:
        inputs = [made[x] for x in node.inputs]
        narrow = _is_narrow(node) and node.op.policy != "exact"
        if not narrow:
            made[node] = node.with_inputs(inputs)
            continue
        with at(node.span, node.scope):
            if node.op.policy == "product":
                sums = node.op(*inputs, **node.attrs, dtype="f32")
            else:
                wide = (ops.cast(x, dtype="f32") if x.dtype == node.dtype else x for x in inputs)
                sums = node.op(*wide, **node.attrs)
            made[node] = ops.cast(sums, dtype=node.dtype)
    return _rebuilt(graph, made)


class _Narrowing:
    """A graph being rewritten: which values somebody reads in 16 bits, and the nodes made for them."""

    def __init__(self, graph: Graph, types: Types) -> None:
        self.graph, self.types = graph, types
        self.fed = _fed(graph)
        self.wanted: dict[Node, set[str]] = {}
        self.spans: dict[tuple[Node, str], tuple[int, int]] = {}
        self.raw: dict[Node, Node] = {}
        self.narrow: dict[tuple[Node, str], Node] = {}
        self.shown: dict[Node, Node] = {}
        self.copies: dict[tuple[Node, str], Node] = {}

    def run(self) -> Graph:
        self._collect()
        for node in self.graph.order:
            type_ = self._product(node)
            if type_:
                with at(node.span, node.scope):
                    operands = [self._narrowed(x, type_) for x in node.inputs]
                    self.raw[node] = node.op(*operands, **node.attrs, dtype="f32")
            else:
                self.raw[node] = node.with_inputs(self._value(x) for x in node.inputs)
        return _rebuilt(self.graph, {node: self._value(node) for node in self.graph.order})

    def _product(self, node: Node) -> str:
        """The type of the operands of a product that has one of 16 bits, else nothing."""
        type_ = self.types.of.get(node.scope, "f32")
        if type_ not in NARROW or node.op.policy != "product" or any(x.dtype != "f32" for x in node.inputs):
            return ""
        return type_

    def _collect(self) -> None:
        """Which values are read in 16 bits, from the readers back."""
        leaving = self._leaving()
        for node in reversed(self.graph.order):
            type_ = self._product(node)
            for x in node.inputs:
                if type_:
                    self.wanted.setdefault(x, set()).add(type_)
                elif x not in leaving and self._crosses(x, node):
                    self.wanted.setdefault(x, set()).add(self.types.of[node.scope])
            for type_ in self.wanted.get(node, ()):
                view = flat_view(node)
                if view is not None and view[0].op is ops.param:
                    low, high = self.spans.get((view[0], type_), (view[1], 0))
                    start = view[1] - view[1] % TOGETHER
                    self.spans[view[0], type_] = min(low, start), max(high, view[1] + node.type.count)
                elif _moves(node):
                    for x in node.inputs[:1] if node.op is ops.after else node.inputs:
                        self.wanted.setdefault(x, set()).add(type_)

    def _leaving(self) -> set[Node]:
        """What only goes out of all layers, through elementwise work at most: gradients of parameters, mostly."""
        leaving: set[Node] = set()
        for node in reversed(self.graph.order):
            if all(
                user.scope not in self.types.of or (user in leaving and user.op.family in ("pointwise", "movement"))
                for user in self.graph.users[node]
            ):
                leaving.add(node)
        return leaving

    def _crosses(self, x: Node, reader: Node) -> bool:
        """Whether a layer of 16 bits reads what another hands on by way of memory."""
        of, between = self.types.of, self.types.between
        if x.scope == reader.scope or x.scope not in of or of.get(reader.scope) not in NARROW:
            return False
        if x.scope in between and reader.scope in between:
            return False
        if reader.op.family == "pointwise" and len(self.graph.users[x]) == 1:
            return False  # the two become one kernel
        return self._activation(x)

    def _activation(self, x: Node) -> bool:
        """Whether a value is computed from what a call is fed, and more than a number."""
        return x in self.fed and x.dtype == "f32" and x.type.count > 1

    def _value(self, node: Node) -> Node:
        """What readers in f32 see: numbers that are kept in 16 bits are the same for everybody."""
        if node not in self.shown:
            types = self.wanted.get(node, set())
            if len(types) == 1 and self._activation(node) and (not _moves(node) or node.op is ops.concat):
                with at(node.span, node.scope):
                    self.shown[node] = ops.cast(self._narrowed(node, next(iter(types))), dtype="f32")
            else:
                self.shown[node] = self.raw[node]
        return self.shown[node]

    def _narrowed(self, node: Node, type_: str) -> Node:
        """A value in 16 bits; cast before it is moved."""
        key = node, type_
        if key not in self.narrow:
            view = flat_view(node)
            with at(node.span, node.scope):
                if view is not None and view[0].op is ops.param:
                    self.narrow[key] = self._copied(view[0], view[1], node, type_)
                elif node.op is ops.after:
                    self.narrow[key] = ops.after(self._narrowed(node.inputs[0], type_), self.raw[node.inputs[1]])
                elif _moves(node):
                    self.narrow[key] = node.op(*(self._narrowed(x, type_) for x in node.inputs), **node.attrs)
                else:
                    self.narrow[key] = ops.cast(self.raw[node], dtype=type_)
        return self.narrow[key]

    def _copied(self, state: Node, start: int, node: Node, type_: str) -> Node:
        """A part of a flat buffer, of which all that products read is cast at once."""
        low, high = self.spans[state, type_]
        if (state, type_) not in self.copies:
            with at(None, ""):
                flat = ops.reshape(state, shape=(state.type.count,)) if len(state.shape) != 1 else state
                self.copies[state, type_] = ops.cast(part(flat, low, high), dtype=type_)
        view = part(self.copies[state, type_], start - low, start - low + node.type.count)
        return view if view.shape == node.shape else ops.reshape(view, shape=node.shape)


_CHOICES = (ops.maximum, ops.minimum, ops.where, ops.abs_, ops.neg)


def _exactly(x: Node, type_: str, m: Match) -> Node | None:
    """A value of f32 in a type of 16 bits, if it is one of that type and nobody else wants it in f32."""
    if x.dtype == "bool":
        return x
    if x.op is ops.cast and x.inputs[0].dtype == type_:
        return x.inputs[0]
    value = splat(x)
    if value is not None:
        held = value in (0.0, 1.0, -1.0, math.inf, -math.inf)
        return ops.const(value=value, shape=x.shape, dtype=type_) if held else None
    if x.op not in _CHOICES or m.shared(x):
        return None
    operands = [_exactly(operand, type_, m) for operand in x.inputs]
    return x.op(*(o for o in operands if o is not None), **x.attrs) if None not in operands else None


def _chosen(m: Match) -> Node | None:
    return _exactly(m.y, m.node.dtype, m) if m.node.dtype in NARROW and m.y.dtype == "f32" else None


EXACT = (
    Rule(
        "cast(f(cast(x))) = f(x) where f is max, min, where, abs or a sign, and x of the narrow type",
        of(ops.cast, of(_CHOICES, name="y")),
        _chosen,
    ),
)


def _moves(node: Node) -> bool:
    """Whether a node moves numbers of 16 bits as well as any."""
    if node.op is ops.pad:
        return node.attrs["value"] in (0.0, math.inf, -math.inf)
    return node.op.family == "movement" or node.op is ops.after


def _fed(graph: Graph) -> set[Node]:
    """What is computed from inputs or random numbers; not inputs that are only moved, nor what only state decides."""
    moved: set[Node] = set()
    found: set[Node] = set()
    for node in graph.order:
        if node.op in (ops.input_, ops.random) or (node.op.family == "movement" and moved.issuperset(node.inputs)):
            moved.add(node)
        elif any(x in found or x in moved for x in node.inputs):
            found.add(node)
    return found


def _rebuilt(graph: Graph, made: Mapping[Node, Node]) -> Graph:
    """The graph of what was made for each node, with all places of merged ones."""
    origins = {made[node]: places for node, places in graph.merged_origins.items() if node in made}
    outputs = {name: made[node] for name, node in graph.outputs.items()}
    return Graph(outputs, {name: made[node] for name, node in graph.updates.items()}, origins)
