"""Cutting a part out of a net: a graph whose inputs are values that were made before.

Two cuts: single values with all that they depend on, and the layers from one to another. Both give a net of the same
state, layers and names, so that what follows (gradients, simplification, fusion) needs not know of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..compiler import expr, ops
from ..compiler.graph import Graph, Node, at
from ..compiler.net import OBJECTIVE, LayerInfo, Net
from ..grammar.source import UserError, suggest
from .training.gradient import GRADIENT


def values(net: Net, names: Sequence[str]) -> Net:
    """The smallest net that makes these values: bound names, layers, and `<name>.grad` for the loss's gradient by one.

    It updates nothing. UserError for a name that the net does not have.
    """
    asked = {name: net.tensor(name) for name in names if not is_gradient(net, name)}
    if len(asked) < len(names) and OBJECTIVE in net.graph.outputs:
        asked[OBJECTIVE] = net.graph.outputs[OBJECTIVE]
    return _with(net, Graph(asked))


def is_gradient(net: Net, name: str) -> bool:
    """Whether a name means a gradient of the loss."""
    return name.endswith(GRADIENT) and name not in net.named


def layers(
    net: Net,
    start: str | None = None,
    end: str | None = None,
    *,
    outputs: Sequence[str] | None = None,
    seeds: Sequence[str] = (),
) -> Net:
    """The layers from `start` to `end`, both included; without one from the first, or to the last.

    What layers before `start` made becomes an input, by the name of its layer. outputs: without them what `end` makes,
    or the net's own. seeds: values whose gradients are inputs `<name>.grad`; the sum of the values times these is then
    the objective. In training mode the statistics of the layers are updated.
    """
    rows = {row.name: i for i, row in enumerate(net.layers)}
    first = _position(net, rows, start) if start is not None else 0
    last = _position(net, rows, end) if end is not None else len(rows) - 1
    if first > last:
        raise UserError(f"the layer `{start}` comes after `{end}`")
    wanted = list(outputs) if outputs is not None else _made(net, net.layers[last], end)
    graph = Graph({name: net.tensor(name) for name in dict.fromkeys((*wanted, *seeds))})
    run = {row.name for row in net.layers[first : last + 1]}
    own = {info.name for info in net.state if info.layer in run}
    graph = graph.with_roots(graph.outputs, {k: x for k, x in net.graph.updates.items() if k in own})
    cut = _before(net, net.layers[:first])
    found, named = _replaced(graph, cut, net.named)
    kept = {name: found.outputs[name] for name in wanted}
    if seeds:
        kept[OBJECTIVE] = _objective({name: found.outputs[name] for name in seeds})
    return replace(_with(net, Graph(kept, found.updates, found.merged_origins)), named=named)


def _position(net: Net, rows: Mapping[str, int], name: str) -> int:
    """The place of a layer in the order in which they run."""
    if name in rows:
        return rows[name]
    node = net.named.get(name)
    found = [i for row, i in rows.items() if node is not None and node in net.tops[row]]
    if not found:
        near = suggest(name, rows) or f"there are {', '.join(rows)}"
        raise UserError(f"the net `{net.name}` runs no layer `{name}` for these outputs; {near}")
    return found[0]


def _made(net: Net, row: LayerInfo, end: str | None) -> list[str]:
    """The names of what a segment returns."""
    if end is None:
        return [name for name in net.graph.outputs if name != OBJECTIVE]
    return [title for title, _ in _tops(net, row)]


def _tops(net: Net, row: LayerInfo) -> list[tuple[str, Node]]:
    """What a layer makes, by the names of `Net.named`."""
    titles = [row.name, *(f"{row.name}.{i}" for i in range(2, len(row.tops) + 1))]
    if net.named[row.name] not in net.tops[row.name] and len(titles) == 1:
        titles = [f"{row.name}.{row.kind}"]  # its statement binds its name to another value
    return [(title, net.named[title]) for title in titles]


def _before(net: Net, rows: Sequence[LayerInfo]) -> dict[Node, Node]:
    """An input for each value that some layers make."""
    found: dict[Node, Node] = {}
    for row in rows:
        for title, node in _tops(net, row):
            if node in found or node.op in (ops.input_, ops.param):
                continue
            with at(node.span, node.scope):
                found[node] = ops.input_(name=title, shape=node.shape, dtype=node.dtype)
    return found


def _replaced(graph: Graph, cut: Mapping[Node, Node], named: Mapping[str, Node]) -> tuple[Graph, dict[str, Node]]:
    """A graph with some nodes replaced, and the names of what is still there."""
    reached = set(graph.order)
    shown = {f" {name}": node for name, node in named.items() if node in reached}
    found = graph.with_roots({**graph.outputs, **shown}).rebuild({k: x for k, x in cut.items() if k in reached})
    outputs = {name: found.outputs[name] for name in graph.outputs}
    alive = found.with_roots(outputs)
    left = {name: found.outputs[f" {name}"] for name in named if f" {name}" in found.outputs}
    return alive, {name: node for name, node in left.items() if node in alive.users}


def _objective(tops: Mapping[str, Node]) -> Node:
    """What has the given gradients by these values: their products with them, summed."""
    total: Node | None = None
    for name, node in tops.items():
        with at(node.span, OBJECTIVE):
            given = ops.input_(name=f"{name}{GRADIENT}", shape=node.shape, dtype=node.dtype)
            term = expr.sum(node * given)
            total = term if total is None else total + term
    assert total is not None
    return total


def _with(net: Net, graph: Graph) -> Net:
    """The net of another graph. Its layers, directives and state are those of the net."""
    return replace(
        net,
        graph=graph,
        inputs={name: node.type for name, node in graph.inputs.items()},
        losses={},
        metrics=(),
        outputs=tuple(name for name in graph.outputs if name != OBJECTIVE),
    )
