"""Algorithm selection for convolutions on a CPU: one that was measured, else one by rule.

A convolution and its gradients are summed directly, in register tiles along some of their axes, or computed in tiles of
Winograd's filtering. A file knows them by a key that depends on the node alone, so the same net with the same file is
the same program on every machine. `netc tune --target c` measures (`netc/api/algorithms.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, with_schedules
from ...grammar.source import UserError
from ..unit import Choices
from . import winograd
from .measured import Measured, listed

DIRECT = "direct"
ALONG = f"{DIRECT} "  # before the axes of tiles
PRODUCTS = (ops.conv, ops.conv_data_grad, ops.conv_weight_grad)


def in_tiles(node: Node) -> tuple[str, ...]:
    """The filterings by which a node can be computed."""
    return tuple(f"winograd{tile}" for tile in winograd.tiles(node))


def by_rule(node: Node, *, learns: bool) -> str:
    """What is taken without a measurement. learns: weights change from step to step."""
    tile = winograd.choice(node, learns=learns)
    return f"winograd{tile}" if tile else DIRECT


def sites(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph that are measured."""
    return (node for node in graph.order if node.op in PRODUCTS and node.dtype == "f32")


def key_of(node: Node, *, learns: bool) -> str:
    """A hash of what decides how long a node takes: the op, its attributes, and the types of what it reads."""
    types = [(x.dtype, tuple(map(int, x.shape))) for x in (*node.inputs, node)]
    # A size may be a Dim, which knows its name: nets that call it otherwise compute the same.
    attrs = sorted((key, tuple(map(int, v)) if isinstance(v, tuple) else int(v)) for key, v in node.attrs.items())
    told = (node.op.name, attrs, types, learns)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def space_of(node: Node) -> tuple[int, ...]:
    """What a node works on, for readers: the shapes of what it reads."""
    return tuple(int(n) for x in node.inputs for n in x.shape)


def selected(graph: Graph, choices: Choices) -> Graph:
    """The graph with the filterings that were chosen; itself where all sums are direct.

    UserError where schedules are frozen and a node is in no file.
    """
    learns, measured = bool(graph.updates), choices.measured or Measured()
    missing: list[Node] = []

    def tile(node: Node) -> int:
        if node.op not in PRODUCTS or node.dtype != "f32":
            return 0
        found = measured.algorithm(key_of(node, learns=learns)) or ""
        if found != DIRECT and not found.startswith(ALONG) and found not in in_tiles(node):
            if measured.frozen:
                missing.append(node)
            found = by_rule(node, learns=learns)
        return 0 if found.startswith(DIRECT) else int(found.removeprefix("winograd"))

    made = winograd.transformed(graph, tile)
    if missing:
        raise UserError(_missed(missing, measured))
    return made


def with_axes(graph: Graph, choices: Choices) -> Graph:
    """A graph of kernels in which products that are summed directly have tiles along the axes that were measured."""
    learns, measured = bool(graph.updates), choices.measured or Measured()
    found = {
        kernel: Blocks(axes=said.removeprefix(ALONG))
        for kernel in graph.order
        if kernel.op is ops.kernel
        for node in sites(kernel.attrs["body"])
        if (said := measured.algorithm(key_of(node, learns=learns)) or "").startswith(ALONG)
    }
    return with_schedules(graph, lambda kernel: found.get(kernel, kernel.attrs["schedule"])) if found else graph


def _missed(missing: list[Node], measured: Measured) -> str:
    layers = [f"{node.op.name} of {node.scope or 'no layer'}" for node in missing]
    return (
        f"--frozen: no algorithm was measured for {listed(layers)}, with {measured.threads} threads: "
        "measure with `netc tune --target c` and give its file by --schedules, or leave out --frozen"
    )
