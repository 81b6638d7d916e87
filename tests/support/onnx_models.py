"""Models of ONNX made in tests, and run by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.graph import Graph
from netc.compiler.interpret import interpret
from netc.grammar.source import Source
from netc.onnx.comparing import difference, run
from netc.onnx.exporting import Export, export, written
from netc.onnx.library import onnx
from netc.request import request
from netc.weights import NONE, Weights

Array = np.ndarray[Any, Any]


def exported(file: Path | str, weights: Weights = NONE, **wanted: Any) -> Export:
    """A net of a file, or of a text, exported; without weights with numbers for which no layer is constant."""
    source = Source("example.net", file) if isinstance(file, str) else file
    want = replace(request(**wanted), update=False)
    made = export(source, want, weights, untrained=not weights)  # type: ignore[arg-type]
    if not weights:
        rng = np.random.default_rng(0)
        for name, info in made.state.infos.items():
            value = made.state[name]
            if info.kind == "statistic":
                value[...] = rng.uniform(0.5, 1.5, value.shape)
            elif value.dtype.kind == "f" and np.all(value == value.flat[0]):
                value += rng.uniform(-0.1, 0.1, value.shape).astype(value.dtype)
    return made


def ops_of(model: Any) -> Counter[str]:
    """How many nodes of each operator a model has."""
    return Counter(node.op_type for node in model.graph.node)


def checked(model: Any) -> Any:
    """The model, after the checker of the package onnx with its own inference of shapes."""
    onnx("checker").check_model(model, full_check=True)
    return model


def graph_difference(graph: Graph, feeds: Mapping[str, Array]) -> float:
    """The largest difference of a graph's outputs between the oracle and ONNX Runtime. State that is not fed is 0.5."""
    feeds = {**{name: np.full(node.shape, 0.5) for name, node in graph.params.items()}, **feeds}
    model = checked(written("g", [graph], {name: _held(graph, feeds, name) for name in graph.params}))
    typed = {name: _held(graph, feeds, name) for name in graph.inputs}
    wanted, found = interpret(graph, feeds), run(model, typed)
    assert list(found) == list(graph.outputs)
    return max(difference(wanted[name], value) for name, value in found.items())


def _held(graph: Graph, feeds: Mapping[str, Array], name: str) -> Array:
    node = {**graph.inputs, **graph.params}[name]
    return np.asarray(feeds[name], node.type.numpy_dtype)
