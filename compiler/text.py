"""The text form of graphs: one node a line, printed and read back.

    kernel f0(map) {
      %0: f32[64,10] = input(name='in0', shape=(64, 10), dtype='f32')
      ...
    }
    graph {
      %0: f32[N=64,784] = input(name='image', shape=(Dim(64, 'N'), 784), dtype='f32')
      %1: f32[N,10] = dot(%0, %2)  # score, lenet.net:14
      return nll = %9
      update .step = %12
    }

Bodies of kernels come first, under names of their own. Comments (layer and place) are for people: reading drops them.
`compiler.text_reader` reads the form back, schedules of kernels included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .graph import Graph, Node
from .kernel import Blocks
from .types import Dim

MAX_COMMENT = 3


def print_graph(
    graph: Graph,
    *,
    comments: bool = True,
    notes: Mapping[Node, str] | None = None,
    named: Callable[[Graph], Mapping[Node, str]] | None = None,
) -> str:
    """The text of a graph; equal graphs print equal texts.

    notes: comments about nodes, beside layers and places. named: gives nodes of a graph other names than their numbers.
    """
    bodies: dict[Graph, str] = {}
    blocks: list[str] = []
    printer = _Printer(comments, notes or {}, named or _numbered, bodies)
    names = named(graph) if named is not None else {}
    for node in graph.order:
        body = node.attrs.get("body")
        if isinstance(body, Graph) and body not in bodies:
            bodies[body] = names[node].removeprefix("%") if node in names else f"f{len(bodies)}"
            blocks.append(f"kernel {bodies[body]} {{\n{printer.lines(body)}}}\n")
    return "".join([*blocks, f"graph {{\n{printer.lines(graph)}}}\n"])


def _numbered(graph: Graph) -> dict[Node, str]:
    return {node: f"%{i}" for i, node in enumerate(graph.order)}


@dataclass(frozen=True)
class _Printer:
    comments: bool
    notes: Mapping[Node, str]
    named: Callable[[Graph], Mapping[Node, str]]
    bodies: Mapping[Graph, str]

    def lines(self, graph: Graph) -> str:
        names = self.named(graph)
        lines: list[str] = []
        for node in graph.order:
            arguments = [names[x] for x in node.inputs]
            arguments += [f"{k}={_attribute(v, self.bodies)}" for k, v in node.attrs.items()]
            line = f"  {names[node]}: {node.result} = {node.op.name}({', '.join(arguments)})"
            said = [_places(graph, node) if self.comments else "", self.notes.get(node, "")]
            if any(said):
                line += f"  # {'; '.join(part for part in said if part)}"
            lines.append(line)
        lines += [f"  return {_key(k)} = {names[v]}" for k, v in graph.outputs.items()]
        lines += [f"  update {_key(k)} = {names[v]}" for k, v in graph.updates.items()]
        return "".join(line + "\n" for line in lines)


def _places(graph: Graph, node: Node) -> str:
    """The layers and places of a node, the first of many."""
    origins = [o for o in graph.origins(node) if o.scope or o.span]
    shown = [", ".join(s for s in (o.scope, str(o.span) if o.span else "") if s) for o in origins[:MAX_COMMENT]]
    more = [f"and {len(origins) - MAX_COMMENT} more"] if len(origins) > MAX_COMMENT else []
    return "; ".join([*shown, *more])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_.][\w.]*", name, re.ASCII) else repr(name)


def _attribute(value: Any, bodies: Mapping[Graph, str]) -> str:
    if isinstance(value, Graph):
        return bodies[value]
    if isinstance(value, Dim):
        return f"Dim({int(value)}, {value.name!r})"
    if isinstance(value, tuple):
        return f"({', '.join(_attribute(v, bodies) for v in value)}{',' if len(value) == 1 else ''})"
    if isinstance(value, Blocks):
        said = [f", {name}={found!r}" for name in ("key", "axes") if (found := getattr(value, name))]
        return f"{repr(value)[:-1]}{''.join(said)})"
    return repr(value)
