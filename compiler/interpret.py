"""The oracle: a graph evaluated node by node with numpy, in the types it declares or with all floats as float64.

In the declared types every value of bf16 is rounded to one, though numpy holds it as float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .graph import Graph
from .types import FLOATS, NUMPY_DTYPES, TensorType, round_bf16

Arrays = dict[str, np.ndarray[Any, Any]]


def _held(type_: TensorType, value: Any, wide: bool) -> np.ndarray[Any, Any]:
    dtype = np.dtype(np.float64) if wide and type_.dtype in FLOATS else NUMPY_DTYPES[type_.dtype]
    held = np.asarray(value, dtype)
    return round_bf16(held) if type_.dtype == "bf16" and not wide else held


def evaluate(graph: Graph, feeds: Mapping[str, Any], *, wide: bool = True) -> tuple[Arrays, Arrays]:
    """The outputs and the updates of a graph.

    feeds: an array for each `input` and `param` by name, of the node's shape. wide: compute floats in float64.
    Raises KeyError for a missing feed and ValueError for one of another shape.
    """
    # What is too large for a type becomes infinite, and what follows from that is a value too.
    with np.errstate(over="ignore", invalid="ignore"):
        return _evaluate(graph, feeds, wide)


def _evaluate(graph: Graph, feeds: Mapping[str, Any], wide: bool) -> tuple[Arrays, Arrays]:
    values: dict[Any, Any] = {}
    for node in graph.order:
        if node.op.name in ("input", "param"):
            name = node.attrs["name"]
            value = _held(node.type, feeds[name], wide)
            if value.shape != node.shape:
                raise ValueError(f"{name} is {value.shape}, the graph wants {node.type}")
            values[node] = value
            continue
        if node.op.name == "kernel":
            # What a kernel reads need not show how wide it is to compute.
            read = {f"in{i}": values[x] for i, x in enumerate(node.inputs)}
            values[node] = tuple(_evaluate(node.attrs["body"], read, wide)[0].values())
            continue
        result = node.op.numpy(*(values[x] for x in node.inputs), **node.attrs)
        values[node] = _held(node.type, result, wide) if isinstance(node.result, TensorType) else result
    return {k: values[v] for k, v in graph.outputs.items()}, {k: values[v] for k, v in graph.updates.items()}


def interpret(graph: Graph, feeds: Mapping[str, Any], *, wide: bool = True) -> Arrays:
    """The outputs of a graph; see `evaluate`."""
    return evaluate(graph, feeds, wide=wide)[0]
