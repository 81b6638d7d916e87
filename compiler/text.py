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
Lines are Python expressions, read with `ast` and never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from .graph import Graph, GraphError, Node
from .ops import OPS
from .ops.base import TypeRuleError
from .types import Dim, Literal, TensorType

MAX_COMMENT = 3


def print_graph(graph: Graph, *, comments: bool = True) -> str:
    """The text of a graph; equal graphs print equal texts."""
    bodies: dict[Graph, str] = {}
    blocks: list[str] = []
    for node in graph.order:
        body = node.attrs.get("body")
        if isinstance(body, Graph) and body not in bodies:
            bodies[body] = f"f{len(bodies)}"
            blocks.append(f"kernel {bodies[body]} {{\n{_lines(body, {}, comments)}}}\n")
    return "".join([*blocks, f"graph {{\n{_lines(graph, bodies, comments)}}}\n"])


def _lines(graph: Graph, bodies: dict[Graph, str], comments: bool) -> str:
    names = {node: f"%{i}" for i, node in enumerate(graph.order)}
    lines: list[str] = []
    for node in graph.order:
        arguments = [names[x] for x in node.inputs]
        arguments += [f"{k}={_attribute(v, bodies)}" for k, v in node.attrs.items()]
        line = f"  {names[node]}: {node.result} = {node.op.name}({', '.join(arguments)})"
        origins = [o for o in graph.origins(node) if o.scope or o.span]
        if comments and origins:
            shown = [", ".join(s for s in (o.scope, str(o.span) if o.span else "") if s) for o in origins[:MAX_COMMENT]]
            more = f"; and {len(origins) - MAX_COMMENT} more" if len(origins) > MAX_COMMENT else ""
            line += f"  # {'; '.join(shown)}{more}"
        lines.append(line)
    lines += [f"  return {_key(k)} = {names[v]}" for k, v in graph.outputs.items()]
    lines += [f"  update {_key(k)} = {names[v]}" for k, v in graph.updates.items()]
    return "".join(line + "\n" for line in lines)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w.]+", name) else repr(name)


def _attribute(value: Any, bodies: dict[Graph, str]) -> str:
    if isinstance(value, Graph):
        return bodies[value]
    if isinstance(value, Dim):
        return f"Dim({int(value)}, {value.name!r})"
    if isinstance(value, tuple):
        return f"({', '.join(_attribute(v, bodies) for v in value)}{',' if len(value) == 1 else ''})"
    return repr(value)


_NODE = re.compile(r"%(\d+): (.+?) = (\w+)(\(.*\))$")
_ROOT = re.compile(r"(return|update) (\S+|'[^']*'|\"[^\"]*\") = %(\d+)$")
_OPEN = re.compile(r"(?:graph|kernel (\w+)) \{$")


def read_graph(text: str) -> Graph:
    """The graph that a text says. Raises GraphError with the line's number for a line that cannot be read."""
    bodies: dict[str, Graph] = {}
    block: _Block | None = None
    graph: Graph | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw).strip()
        try:
            if not line:
                continue
            if block is None:
                found = _OPEN.match(line)
                if not found:
                    raise GraphError("a block begins with `graph {` or `kernel NAME {`")
                block = _Block(found.group(1), bodies)
            elif line == "}":
                made = Graph(block.outputs, block.updates)
                if block.name is None:
                    graph = made
                else:
                    bodies[block.name] = made
                block = None
            else:
                block.read(line)
        except (GraphError, TypeRuleError, SyntaxError, ValueError, TypeError, KeyError) as error:
            raise GraphError(f"line {number}: {error}: {raw.strip()}") from None
    if graph is None or block is not None:
        raise GraphError("the text ends before a graph does")
    return graph


def _without_comment(line: str) -> str:
    # A `#` inside an attribute's string is no comment; outside of strings nothing else uses it.
    quote = ""
    for i, c in enumerate(line):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c == "#":
            return line[:i]
    return line


class _Block:
    def __init__(self, name: str | None, bodies: dict[str, Graph]) -> None:
        self.name = name
        self.bodies = bodies
        self.nodes: dict[int, Node] = {}
        self.outputs: dict[str, Node] = {}
        self.updates: dict[str, Node] = {}

    def read(self, line: str) -> None:
        root = _ROOT.match(line)
        if root:
            kind, key, number = root.groups()
            name = str(ast.literal_eval(key)) if key[0] in "'\"" else key
            (self.outputs if kind == "return" else self.updates)[name] = self.nodes[int(number)]
            return
        found = _NODE.match(line)
        if not found:
            raise GraphError("a node is `%0: type = op(operands, attributes)`")
        number, type_, op, arguments = found.groups()
        call = ast.parse(f"f{re.sub(r'%(?=[0-9])', '_', arguments)}", mode="eval").body
        if not isinstance(call, ast.Call) or op not in OPS:
            raise GraphError(f"{op} is no op")
        operands = [self.nodes[int(a.id[1:])] for a in call.args if isinstance(a, ast.Name)]
        attrs = {k.arg: self._value(k.value) for k in call.keywords if k.arg}
        node = OPS[op](*operands, **attrs)
        if str(node.result) != type_:
            raise GraphError(f"the type is {node.result}, the text says {type_}")
        self.nodes[int(number)] = node

    def _value(self, value: ast.expr) -> Any:
        if isinstance(value, ast.Name):
            # inf and nan print as bare words
            return float(value.id) if value.id in ("inf", "nan") else self.bodies[value.id]
        if isinstance(value, ast.Tuple):
            return tuple(self._value(v) for v in value.elts)
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
            return -self._value(value.operand)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            build = _CALLS[value.func.id]
            return build(*(self._value(v) for v in value.args))
        return ast.literal_eval(value)


_CALLS: dict[str, Callable[..., Any]] = {
    "Dim": Dim,
    "dense": lambda dtype, shape, data: Literal(dtype, shape, bytes.fromhex(data)),
    "TensorType": TensorType,
}
