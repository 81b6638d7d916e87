"""The one intermediate representation: immutable nodes, and graphs that name some of them.

A `Node` is an op applied to nodes; an ill-typed node cannot be made. A `Graph` names output nodes, and the next values
of state; whatever they do not reach does not exist. networkx holds the index; passes ask `Graph`, never networkx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from .types import TensorType, TupleType

if TYPE_CHECKING:
    import networkx as nx

    from ..grammar.source import Span
    from .ops.base import Op


T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Where a node came from: a place in a `.net` file and the scope (the layer's name) that made it."""

    span: Span | None = None
    scope: str = ""


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


@contextmanager
def at(span: Span | None, scope: str) -> Iterator[None]:
    """Nodes made inside come from `span` and belong to the layer `scope`."""
    token = _origin.set(Origin(span, scope))
    try:
        yield
    finally:
        _origin.reset(token)


def current_origin() -> Origin:
    return _origin.get()


def reached(start: Iterable[T], step: Callable[[T], Iterable[T]]) -> Iterator[T]:
    """What steps lead to from some things on, these included, each once: depth first, of several the last first."""
    stack = [*dict.fromkeys(start)]
    seen = set(stack)
    while stack:
        yield (x := stack.pop())
        found = [y for y in dict.fromkeys(step(x)) if y not in seen]
        seen.update(found)
        stack += found


def needs(node: Node, other: Node) -> bool:
    """Whether a node is computed from another one."""
    return any(x is other for x in reached(node.inputs, lambda x: x.inputs))


class TooManyNodes(Exception):
    """More nodes were made than `node_limit` allows."""


_left: ContextVar[list[int] | None] = ContextVar("nodes left", default=None)


@contextmanager
def node_limit(count: int) -> Iterator[None]:
    """At most so many nodes are made inside, else TooManyNodes: a short text may expand to very many."""
    token = _left.set([count])
    try:
        yield
    finally:
        _left.reset(token)


def count_node() -> None:
    """Counts a node that is about to be made."""
    left = _left.get()
    if left is not None:
        left[0] -= 1
        if left[0] < 0:
            raise TooManyNodes


# Arithmetic on nodes by name; `ops/arithmetic.py`, without which no node can be made, puts it here.
OPERATORS: dict[str, Callable[..., Node]] = {}


def _operator(name: str, *, swapped: bool = False) -> Callable[[Node, Node | float], Node]:
    """A method that does an operation; swapped: with the operands the other way round."""

    def call(self: Node, other: Node | float) -> Node:
        return OPERATORS[name](other, self) if swapped else OPERATORS[name](self, other)

    return call


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """An op applied to inputs. Equal only to itself; `op(*inputs, **attrs)` makes and type-checks one."""

    op: Op
    inputs: tuple[Node, ...]
    attrs: Mapping[str, Any]
    result: TensorType | TupleType
    origin: Origin

    @property
    def type(self) -> TensorType:
        """The tensor type; `kernel` and `host` nodes have none (read them through `item`)."""
        if not isinstance(self.result, TensorType):
            raise TypeError(f"{self.op.name} has several results")
        return self.result

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype

    @property
    def span(self) -> Span | None:
        return self.origin.span

    @property
    def scope(self) -> str:
        return self.origin.scope

    def with_inputs(self, inputs: Iterable[Node]) -> Node:
        """The same op and attributes on other inputs, with this node's origin; itself if the inputs are the same."""
        inputs = tuple(inputs)
        if all(a is b for a, b in zip(inputs, self.inputs, strict=True)):
            return self
        with at(self.span, self.scope):
            return self.op(*inputs, **self.attrs)

    def verify(self) -> None:
        """GraphError for a node whose type is not what its op's rule says, or whose attributes break a rule."""
        again = self.op.infer(*(x.result for x in self.inputs), **self.attrs)
        if again != self.result:
            raise GraphError(f"{self.op.name} has type {self.result}, its rule says {again}")
        for key, value in self.attrs.items():
            try:
                hash(value)
            except TypeError:
                raise GraphError(f"{self.op.name}: attribute {key} cannot be hashed") from None
            if isinstance(value, Graph):
                try:
                    value.verify()
                except GraphError as error:
                    raise GraphError(f"in a kernel of {self.scope or 'no layer'}: {error}") from None

    def __repr__(self) -> str:
        return f"<{self.op.name}: {self.result}>"

    # As in the language: numpy broadcasting, and numbers take the node's element type.
    __add__ = __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("sub"), _operator("sub", swapped=True)
    __mul__ = __rmul__ = _operator("mul")
    __truediv__, __rtruediv__ = _operator("div"), _operator("div", swapped=True)
    __pow__ = _operator("pow")
    __lt__, __gt__ = _operator("less"), _operator("less", swapped=True)

    def __neg__(self) -> Node:
        return OPERATORS["neg"](self)


class GraphError(Exception):
    """A graph that breaks a rule of the representation: a fault of a pass, never of a user."""


class Graph:
    """Named outputs, and the next values of state (`updates`: state name -> node), over immutable nodes."""

    def __init__(
        self,
        outputs: Mapping[str, Node],
        updates: Mapping[str, Node] | None = None,
        origins: Mapping[Node, tuple[Origin, ...]] | None = None,
    ) -> None:
        self.outputs: dict[str, Node] = dict(outputs)
        self.updates: dict[str, Node] = dict(updates or {})
        # Only nodes that stand for several places are listed; any other has the one origin it was made with.
        self._origins: dict[Node, tuple[Origin, ...]] = dict(origins or {})
        self._verified = False

    @property
    def roots(self) -> list[Node]:
        return [*self.outputs.values(), *self.updates.values()]

    @cached_property
    def order(self) -> list[Node]:
        """All nodes, operands first: depth first from the roots, so the same graph always has the same order."""
        done: dict[Node, None] = {}
        for root in self.roots:
            stack: list[tuple[Node, int]] = [(root, 0)]
            while stack:
                node, i = stack.pop()
                if node in done:
                    continue
                if i < len(node.inputs):
                    stack.append((node, i + 1))
                    if node.inputs[i] not in done:
                        stack.append((node.inputs[i], 0))
                else:
                    done[node] = None
        return list(done)

    @cached_property
    def index(self) -> nx.MultiDiGraph[Node]:
        """The networkx index: an edge from operand to user, its key the operand's position."""
        import networkx as nx  # here, since it takes longer to import than `netc check` to run

        graph: nx.MultiDiGraph[Node] = nx.MultiDiGraph()
        graph.add_nodes_from(self.order)
        for node in self.order:
            for i, x in enumerate(node.inputs):
                graph.add_edge(x, node, key=i)
        return graph

    @cached_property
    def users(self) -> dict[Node, list[Node]]:
        """Each node's users in order, once each."""
        users: dict[Node, dict[Node, None]] = {node: {} for node in self.order}
        for node in self.order:
            for x in node.inputs:
                users[x][node] = None
        return {node: list(found) for node, found in users.items()}

    @cached_property
    def inputs(self) -> dict[str, Node]:
        """The `input` nodes by name."""
        return {n.attrs["name"]: n for n in self.order if n.op.name == "input"}

    @cached_property
    def params(self) -> dict[str, Node]:
        """The `param` nodes (all state: parameters, histories, statistics, counters) by name."""
        return {n.attrs["name"]: n for n in self.order if n.op.name == "param"}

    def origins(self, node: Node) -> tuple[Origin, ...]:
        """All places and scopes that a node stands for, also after merging."""
        return self._origins.get(node) or (node.origin,)

    @property
    def merged_origins(self) -> Mapping[Node, tuple[Origin, ...]]:
        return self._origins

    def with_roots(self, outputs: Mapping[str, Node], updates: Mapping[str, Node] | None = None) -> Graph:
        """Other outputs over (partly) the same nodes; origins are kept."""
        return Graph(outputs, self.updates if updates is None else updates, self._origins)

    def mapped(self, make: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
        """The graph with each node made again by `make`, given it and its new inputs; itself if all nodes stay."""
        made: dict[Node, Node] = {}
        for node in self.order:
            made[node] = make(node, tuple(made[x] for x in node.inputs))
        if all(new is node for node, new in made.items()):
            return self
        return Graph(
            {k: made[v] for k, v in self.outputs.items()},
            {k: made[v] for k, v in self.updates.items()},
            {made[n]: places for n, places in self._origins.items() if n in made},
        )

    def rebuild(self, replace: Mapping[Node, Node]) -> Graph:
        """The graph with nodes replaced; their users are made again. Replacements stand for what they replace."""
        made: dict[Node, Node] = {}
        origins: dict[Node, tuple[Origin, ...]] = {}
        for node in self.order:
            new = replace[node] if node in replace else node.with_inputs(made[x] for x in node.inputs)
            made[node] = new
            places = dict.fromkeys((*origins.get(new, ()), *self.origins(node)))
            if len(places) > 1 or next(iter(places)) != new.origin:
                origins[new] = tuple(places)
        return Graph(
            {k: made[v] for k, v in self.outputs.items()}, {k: made[v] for k, v in self.updates.items()}, origins
        )

    def verify(self, known: set[Node] | None = None) -> Graph:
        """Itself, or `GraphError`: asks each op's own type rule again, in kernels too; there is no second truth.

        What was found valid stays so, as nodes do not change, and is not looked at again: a whole graph, and the nodes
        of `known`, to which those of this graph are added.
        """
        if self._verified:
            return self
        known = set() if known is None else known
        named: dict[tuple[str, str], Node] = {}
        for node in self.order:
            if node.op.name in ("input", "param"):
                other = named.setdefault((node.op.name, node.attrs["name"]), node)
                if other is not node:
                    raise GraphError(f"two nodes for {node.op.name} {node.attrs['name']}")
            if node not in known:
                node.verify()
                known.add(node)
        for name, value in self.updates.items():
            state = self.params.get(name)
            if state is not None and state.result != value.result:
                raise GraphError(f"update of {name} is {value.result}, the state is {state.result}")
        self._verified = True
        return self
