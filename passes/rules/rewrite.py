"""The rewrite engine: rules, one pass from operands to users, and equal nodes made one.

Each node is rebuilt on its rewritten operands; if an equal node exists it is that node, else the rules of its op are
tried until none fits. What a rule makes goes the same way, so one pass ends in a fixed point of all rules.
Nodes are equal when op, operands and attributes are: `random` says its stream there, so two dropouts stay two. The
result remembers every place and layer that a merged or replaced node stood for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...compiler import ops
from ...compiler.graph import Graph, GraphError, Node, Origin, at
from ...compiler.ops import Op
from .pattern import Pattern, constant, fits, matches, number, of, var

__all__ = ["SHARED", "Ledger", "Match", "Pattern", "Refuse", "Rule", "constant", "number", "of", "rewrite", "var"]

# Rewrites of one node and of what replaces it, before the rules are taken to run in a circle.
MAX_STEPS = 1000


# Why a result is not taken into its reader. It may hold no longer once other rules have run.
SHARED = "the inner result is used elsewhere too"


@dataclass(frozen=True)
class Refuse:
    """Why a rule that fits is not applied here."""

    reason: str


class Match:
    """What a pattern found: `m.x` is the node bound to `x`, `m.node` the whole."""

    __slots__ = ("_found", "_uses", "node")

    def __init__(self, node: Node, found: dict[str, Node], uses: Callable[[Node], int]) -> None:
        self.node = node
        self._found = found
        self._uses = uses

    def __getattr__(self, name: str) -> Node:
        try:
            return self._found[name]
        except KeyError:
            raise AttributeError(name) from None

    def shared(self, node: Node) -> bool:
        """Whether others than this match read the node, so that it would not vanish if it were taken in."""
        return self._uses(node) > 1


@dataclass(frozen=True)
class Rule:
    """`law` is the algebra as text; `rewrite` returns the node that replaces the match, None, or a refusal.

    why: where rounding, NaN or infinity could differ, the reason that it is allowed all the same.
    """

    law: str
    pattern: Pattern
    rewrite: Callable[[Match], Node | Refuse | None]
    why: str = ""


@dataclass
class Ledger:
    """How often each law was applied, and how often the last round over the graph refused it for which reason."""

    fired: dict[str, int] = field(default_factory=dict)
    refused: dict[tuple[str, str], int] = field(default_factory=dict)

    def again(self) -> None:
        """A round begins: what was refused in the one before may not be in this one."""
        self.refused.clear()

    def apply(self, rule: Rule, node: Node) -> None:
        """A rule has replaced a node."""
        self.fired[rule.law] = self.fired.get(rule.law, 0) + 1

    def shared(self) -> int:
        """How often a rule was refused because a result has other readers."""
        return sum(n for (_, reason), n in self.refused.items() if reason == SHARED)

    def refuse(self, rule: Rule, node: Node, reason: str) -> None:
        """A rule that fits a node is not applied."""
        self.refused[rule.law, reason] = self.refused.get((rule.law, reason), 0) + 1


def rewrite(graph: Graph, rules: Iterable[Rule], ledger: Ledger | None = None) -> Graph:
    """The graph after all rules, equal nodes merged. Without rules: common subexpressions only.

    Raises GraphError when the rules run in a circle.
    """
    ledger = ledger if ledger is not None else Ledger()
    ledger.again()
    return _Rewriting(graph, _Table(tuple(rules)), ledger).run()


def merge_equal(graph: Graph) -> Graph:
    """Common subexpressions: nodes with the same op, operands and attributes become one."""
    return rewrite(graph, ())


class _Table:
    """Rules by the op of a node and the ops of its operands, found once for each combination."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        for rule in rules:
            if not rule.pattern.ops:
                raise ValueError(f"the rule {rule.law!r} does not say at which op it begins")
        self.rules = rules
        self.found: dict[tuple[Op, ...], tuple[Rule, ...]] = {}

    def of(self, node: Node) -> tuple[Rule, ...]:
        operands = tuple([x.op for x in node.inputs])
        key = (node.op, *operands)
        found = self.found.get(key)
        if found is None:
            found = tuple(rule for rule in self.rules if fits(rule.pattern, node.op, operands))
            self.found[key] = found
        return found


def _attribute(value: Any) -> Any:
    # 0.0 == -0.0 and 1 == 1.0 == True, but only the first two differ in meaning.
    return (value, math.copysign(1.0, value)) if isinstance(value, float) and value == 0.0 else value


def _key(op: Op, inputs: Sequence[Node], attrs: Any) -> tuple[Any, ...]:
    operands = [id(x) for x in inputs]
    if op.commutes:
        operands.sort()
    return op, tuple(operands), tuple(sorted((k, _attribute(v)) for k, v in attrs.items()))


class _Rewriting:
    def __init__(self, graph: Graph, rules: _Table, ledger: Ledger) -> None:
        self.graph = graph
        self.rules = rules
        self.ledger = ledger
        self.known: dict[Any, Node] = {}  # a key -> the node to use for it, rewritten to the end
        self.done: set[Node] = set()  # such nodes
        self.uses: dict[Node, int] = {}  # a done node -> readers, in the first graph, of the nodes it stands for
        self.origins: dict[Node, dict[Origin, None]] = {}
        self.steps = 0

    def run(self) -> Graph:
        graph = self.graph
        users = {node: len(found) for node, found in graph.users.items()}
        for root in graph.roots:
            users[root] += 1
        made: dict[Node, Node] = {}
        for node in graph.order:
            self.steps = 0
            new = made[node] = self.finish(node.with_inputs([made[x] for x in node.inputs]))
            self.uses[new] = self.uses.get(new, 0) + users[node]
            # A constant or an input has no work of its own that a profile would have to name.
            if new.op.family != "source" or new.op is ops.random:
                self.remember(new, graph.origins(node))
        merged = {n: tuple(found) for n, found in self.origins.items() if tuple(found) != (n.origin,)}
        return Graph(
            {k: made[v] for k, v in graph.outputs.items()}, {k: made[v] for k, v in graph.updates.items()}, merged
        )

    def remember(self, node: Node, origins: tuple[Origin, ...]) -> None:
        places = self.origins.get(node)
        if places is None:
            places = self.origins[node] = {node.origin: None}
        for origin in origins:
            places[origin] = None

    def finish(self, node: Node) -> Node:
        """The node to use for one whose operands are done."""
        key = _key(node.op, node.inputs, node.attrs)
        found = self.known.get(key)
        if found is not None:
            return found
        keys = [key]
        while True:
            new = self.step(node)
            if new is None:
                break
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise GraphError(f"rules run in a circle at {node.op.name}: {', '.join(self.ledger.fired)}")
            if new in self.done:
                node = new
                break
            node = self.operands(new)
            key = _key(node.op, node.inputs, node.attrs)
            found = self.known.get(key)
            if found is not None:
                node = found
                break
            keys.append(key)
        for key in keys:
            self.known[key] = node
        self.done.add(node)
        return node

    def operands(self, node: Node) -> Node:
        """A node that a rule made, on done operands."""
        inputs = []
        for x in node.inputs:
            if x not in self.done:
                x = self.finish(self.operands(x))
            inputs.append(x)
        return node.with_inputs(inputs)

    def step(self, node: Node) -> Node | None:
        """What the first rule that applies makes of the node."""
        for rule in self.rules.of(node):
            for found in matches(rule.pattern, node, {}):
                with at(node.span, node.scope):
                    new = rule.rewrite(Match(node, dict(found), self.count))
                if isinstance(new, Refuse):
                    self.ledger.refuse(rule, node, new.reason)
                elif new is not None and new is not node:
                    if new.result != node.result:
                        raise GraphError(f"the rule {rule.law!r} made {new.result} of {node.result}")
                    self.ledger.apply(rule, node)
                    return new
        return None

    def count(self, node: Node) -> int:
        return self.uses.get(node, 1)
