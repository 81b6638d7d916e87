"""Reverse mode: `<name>.grad` outputs for inputs, parameters and values, by the gradient rule (`vjp`) of each op.

One walk from the objective back, over the nodes that lie between it and what is asked for. Nodes of the backward pass
carry the place and the layer of the node they differentiate, so that profiles name layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...compiler import expr, ops
from ...compiler.graph import Graph, GraphError, Node, at
from ...compiler.net import OBJECTIVE
from ...compiler.types import TupleType
from ..manager import Pass
from ..rules.exponentials import EXPONENTIALS
from ..rules.rewrite import Ledger, Match, Rule, of, rewrite, var
from .checkpoint import Checkpoints

# What follows a name in the outputs that hold gradients.
GRADIENT = ".grad"


def gradient(
    wrt: Sequence[str],
    objective: str = OBJECTIVE,
    *,
    scale: Callable[[Graph], Node] | None = None,
    values: Mapping[str, Node] | None = None,
    regions: Mapping[str, int] | None = None,
) -> Pass:
    """A pass that adds an output `<name>.grad` for each named input or parameter, or of `values`: nodes of the graph.

    The objective is one number of a floating-point type. A name that it does not depend on gets zeros. Contributions
    are added in the order of the backward walk, which the graph alone determines. scale: gives one number in f32, of
    that many times the objective are the gradients. regions: layers whose values are not kept but recomputed, each with
    the number of those that are recomputed together. Raises GraphError for a name that the
    graph does not read, and for an op between it and the objective that has no derivative here (`kernel`, `host`).
    """

    def run(graph: Graph, ledger: Ledger | None = None) -> Graph:
        """Add the gradients, and erase `surrogate`, which means nothing after."""
        named = {**(values or {}), **graph.params, **graph.inputs}
        missing = [name for name in wrt if name not in named]
        if missing:
            raise GraphError(f"no gradient by {', '.join(missing)}: the graph does not read it")
        graph, asked = restated(graph, [named[name] for name in wrt], ledger)
        found = cotangents(graph, graph.outputs[objective], asked, scale(graph) if scale else None, regions or {})
        grads = {name + GRADIENT: found[node] for name, node in zip(wrt, asked, strict=True)}
        return erase_surrogate(graph.with_roots({**graph.outputs, **grads}))

    return run


def restated(graph: Graph, nodes: Sequence[Node], ledger: Ledger | None = None) -> tuple[Graph, list[Node]]:
    """The graph, and nodes of it, after the laws against overflow: later they no longer help the gradient."""
    ledger = ledger if ledger is not None else Ledger()
    kept = {f".{i}": node for i, node in enumerate(nodes)}
    found = rewrite(graph.with_roots({**graph.outputs, **kept}), EXPONENTIALS, ledger)
    if not ledger.fired:
        return graph, [*nodes]
    asked = [found.outputs[name] for name in kept]
    return found.with_roots({name: x for name, x in found.outputs.items() if name not in kept}), asked


def cotangents(
    graph: Graph,
    objective: Node,
    wrt: Sequence[Node],
    scale: Node | None = None,
    regions: Mapping[str, int] | None = None,
) -> dict[Node, Node]:
    """The derivative of the objective, times a scale if there is one, by each of the given nodes."""
    if objective.type.count != 1 or not objective.type.is_float:
        raise GraphError(f"the objective is {objective.type}, not one number")
    active = _active(graph, wrt)
    kept = Checkpoints(graph, regions or {})
    with at(objective.span, objective.scope):
        if scale is None:
            first = ops.const(value=1.0, shape=objective.shape, dtype=objective.dtype)
        else:
            first = expr.reshape(expr.cast(scale, objective.dtype), objective.shape)
        parts: dict[Node, list[Node]] = {objective: [first]}
    found: dict[Node, Node] = {}
    for node in reversed(graph.order):
        if node not in active or node not in parts:
            continue
        total: Node | list[Node | None]
        if isinstance(node.result, TupleType):  # each result is an item, of which all were met before
            items = {x.attrs["index"]: found.get(x) for x in graph.users[node]}
            total = [items.get(i) for i in range(len(node.result.items))]
        else:
            found[node] = total = _sum(parts[node])
        with at(node.span, node.scope):
            # The derivative by what an op without one gives may be asked for; it ends there (see `_active`).
            ends = node.op.vjp is None and node.op.family != "group"
            if ends or not any(x in active for x in node.inputs):
                continue
            if node.op.vjp is None:
                raise GraphError(f"{node.op.name} cannot be differentiated")
            first = total if isinstance(total, Node) else next(part for part in total if part is not None)
            parts_of = node.op.vjp(total, *kept.seen((node, *node.inputs), node, first), **node.attrs)
            for x, part in zip(node.inputs, parts_of, strict=True):
                if part is not None and x in active:
                    parts.setdefault(x, []).append(part)
    for node in wrt:
        if node not in found:
            with at(node.span, node.scope):
                found[node] = ops.const(value=0, shape=node.shape, dtype=node.dtype)
    return found


def _active(graph: Graph, wrt: Sequence[Node]) -> set[Node]:
    """The nodes through which the objective could depend on `wrt`: floating-point numbers, along surrogates' paths.

    An op without a gradient lets none through: its values do not move when its operands do (almost everywhere).
    """
    active = set(wrt)
    for node in graph.order:
        if node.op.vjp is None and node.op.family != "group":
            continue
        sources = node.inputs[1:] if node.op is ops.surrogate else node.inputs
        if any(x in active for x in sources) and (node.op.family == "group" or node.type.is_float):
            active.add(node)
    return active


def _sum(parts: Sequence[Node]) -> Node:
    total = parts[0]
    for part in parts[1:]:
        with at(part.span, part.scope):
            total = ops.add(total, part)
    return total


def _value(m: Match) -> Node:
    return m.value


_ERASE = Rule("surrogate(value, path) = value", of(ops.surrogate, var("value"), var("path")), _value)


def erase_surrogate(graph: Graph, ledger: Ledger | None = None) -> Graph:
    """Keep the value of each `surrogate`: right once gradients are taken, or where none is wanted."""
    return rewrite(graph, (_ERASE,), ledger)
