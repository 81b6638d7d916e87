"""Algorithm selection for convolutions on a CPU: one that was measured, else one by rule.

What there is to choose depends on the node alone (`names`), and so does the key by which a file knows it, so the same
net with the same file is the same program on every machine. `netc tune --target c` measures (`netc/api/algorithms.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ...compiler.graph import Graph, Node
from ...grammar.source import UserError
from ..unit import Choices
from . import winograd
from .measured import ALGORITHMS, Measured, listed

DIRECT = "direct"


def names(node: Node) -> tuple[str, ...]:
    """The algorithms by which a node can be computed, direct sums first; fewer than two where there is no choice."""
    found = (DIRECT, *(f"winograd{tile}" for tile in winograd.tiles(node)))
    assert ALGORITHMS.issuperset(found)
    return found


def by_rule(node: Node, *, learns: bool) -> str:
    """What is taken without a measurement. learns: weights change from step to step."""
    tile = winograd.choice(node, learns=learns)
    return f"winograd{tile}" if tile else DIRECT


def sites(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph of primitives for which there is a choice."""
    return (node for node in graph.order if len(names(node)) > 1)


def key_of(node: Node, *, learns: bool) -> str:
    """A hash of what decides how long a node takes: the op, its attributes, and the types of what it reads."""
    types = [(x.dtype, tuple(map(int, x.shape))) for x in (*node.inputs, node)]
    # A size may be a Dim, which knows its name: nets that call it otherwise compute the same.
    attrs = sorted((key, tuple(map(int, v)) if isinstance(v, tuple) else int(v)) for key, v in node.attrs.items())
    told = (node.op.name, attrs, types, learns)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def space_of(node: Node) -> tuple[int, ...]:
    """What a node works on, for readers: images, channels read, channels made, rows and columns made, the kernel."""
    x, weight = node.inputs
    return tuple(map(int, (node.shape[0], x.shape[1], *node.shape[1:], *weight.shape[2:])))


def selected(graph: Graph, choices: Choices) -> Graph:
    """The graph with the algorithms that were chosen; itself where all are direct.

    UserError where schedules are frozen and a node is in no file.
    """
    learns, measured = bool(graph.updates), choices.measured or Measured()
    missing: list[Node] = []

    def tile(node: Node) -> int:
        there = names(node)
        if len(there) < 2:
            return 0
        found = measured.algorithm(key_of(node, learns=learns))
        if found not in there:
            if measured.frozen:
                missing.append(node)
            found = by_rule(node, learns=learns)
        return int(found.removeprefix("winograd")) if found != DIRECT else 0

    made = winograd.transformed(graph, tile)
    if missing:
        raise UserError(_missed(missing, measured))
    return made


def _missed(missing: list[Node], measured: Measured) -> str:
    layers = [f"{node.op.name} of {node.scope or 'no layer'}" for node in missing]
    return (
        f"--frozen: no algorithm was measured for {listed(layers)}, with {measured.threads} threads: "
        "measure with `netc tune --target c` and give its file by --schedules, or leave out --frozen"
    )
