"""Simplify: all laws that hold anywhere, in training and in testing, until none fits. Their tables stand beside."""

from __future__ import annotations

from collections.abc import Sequence

from ...compiler.graph import Graph
from .algebra import ALGEBRA
from .exponentials import EXPONENTIALS
from .fold import CONSTANTS
from .movement import MOVEMENT
from .rewrite import Ledger, Rule, merge_equal, rewrite

RULES = (*CONSTANTS, *EXPONENTIALS, *ALGEBRA, *MOVEMENT)

# Two are common, three rare; a bound in case laws feed each other for long.
MAX_ROUNDS = 8


def simplify(graph: Graph, ledger: Ledger | None = None) -> Graph:
    """The graph after algebra, movement and constant folding; equal nodes are one. Values agree but for rounding."""
    return to_the_end(graph, RULES, ledger)


def to_the_end(graph: Graph, rules: Sequence[Rule], ledger: Ledger | None = None) -> Graph:
    """The graph after all rules, again until none applies.

    One round is a fixed point but for what rules ask about readers: a round may free a node of some of them.
    """
    # Merging first tells the rules how many readers a node has in truth.
    graph = merge_equal(graph)
    ledger = ledger if ledger is not None else Ledger()
    for _ in range(MAX_ROUNDS):
        fired = sum(ledger.fired.values())
        graph = rewrite(graph, rules, ledger)
        if sum(ledger.fired.values()) == fired or not ledger.shared():
            break
    return graph
