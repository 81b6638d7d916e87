"""Tracing NaN to its origin: which layer first made a number that is none, when a loss became NaN or infinite.

The training graph is evaluated again, node by node as the oracle does, on the batch and the state of the failed step.
It takes a while, which does not matter: the run has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.graph import Graph, Node

Array = npt.NDArray[Any]


def diagnosis(forward: Graph, whole: Graph) -> Callable[[Mapping[str, Array], Mapping[str, Array]], str]:
    """A function of the batch and the state that names the place.

    forward: the net's graph; whole: the same with gradients. Both read state by its logical names.
    """

    def diagnose(columns: Mapping[str, Array], state: Mapping[str, Array]) -> str:
        for name, value in columns.items():
            if not np.all(np.isfinite(value)):
                return f"the input `{name}` already holds what is no finite number"
        for graph, backward in ((forward, ""), (whole, "the gradient of ")):
            found = first_broken(graph, columns, state)
            if found is not None:
                if found.op.name == "param":
                    return f"the parameter {found.attrs['name']} already holds what is no finite number"
                layer = found.scope or found.op.name
                place = f" ({found.span.file}:{found.span.line})" if found.span else ""
                return f"{backward}layer {layer}{place} was the first to make it"
        return "evaluated again it is finite"

    return diagnose


def first_broken(graph: Graph, columns: Mapping[str, Array], state: Mapping[str, Array]) -> Node | None:
    """The first node in order with a value that is no finite number; None where all are, or where a feed is missing."""
    left = {node: len(users) for node, users in graph.users.items()}
    values: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for node in graph.order:
            if node.op.name in ("input", "param"):
                name = node.attrs["name"]
                feeds = columns if node.op.name == "input" else state
                if name not in feeds:
                    return None
                value = np.asarray(feeds[name], node.type.numpy_dtype)
            else:
                result = node.op.numpy(*(values[x] for x in node.inputs), **node.attrs)
                value = np.asarray(result, node.type.numpy_dtype)
            if node.type.is_float and not _finite(node, value):
                return node
            values[node] = value
            for x in dict.fromkeys(node.inputs):
                left[x] -= 1
                if not left[x]:
                    del values[x]  # or a large net would need the memory of all its values at once
    return None


def _finite(node: Node, value: Array) -> bool:
    """Padding with minus infinity (max pooling) and constants are no fault."""
    if node.op.name in ("const", "pad", "window", "broadcast", "slice", "reshape", "transpose"):
        return True
    return bool(np.all(np.isfinite(value)))
