"""Models of ONNX made in tests, and run by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.graph import Graph
from netc.compiler.interpret import interpret
from netc.grammar.source import Source
from netc.onnx import imported
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
    wanted, found = interpret(graph, feeds), run(model.SerializeToString(), typed)
    assert list(found) == list(graph.outputs)
    return max(difference(wanted[name], value) for name, value in found.items())


def _held(graph: Graph, feeds: Mapping[str, Array], name: str) -> Array:
    node = {**graph.inputs, **graph.params}[name]
    return np.asarray(feeds[name], node.type.numpy_dtype)


@dataclass(frozen=True)
class OneNode:
    """A node on inputs of some shapes; a first size of None is the batch. weights: constants after them."""

    op: str
    shapes: Sequence[Sequence[int | None]]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    weights: Sequence[Any] = ()
    outputs: int = 1
    opset: int = 18

    def model(self) -> Any:
        """A model of the node alone."""
        helper, numpy_helper = onnx("helper"), onnx("numpy_helper")
        names = [f"x{i}" for i in range(len(self.shapes))]
        inputs = [
            helper.make_tensor_value_info(name, 1, ["batch" if n is None else n for n in shape])
            for name, shape in zip(names, self.shapes, strict=True)
        ]
        given = {f"layer.w{i}": value for i, value in enumerate(self.weights)}
        constants = [
            numpy_helper.from_array(np.asarray(value), name) for name, value in given.items() if value is not None
        ]
        more = ["" if value is None else name for name, value in given.items()]
        outputs = [f"y{i}" for i in range(self.outputs)]
        made = helper.make_node(self.op, [*names, *more], outputs, name="layer", **self.attrs)
        results = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
        graph = helper.make_graph([made], "g", inputs, results, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def parsed(text: str, opset: int = 18) -> Any:
    """A model of a text of the package onnx."""
    return onnx("parser").parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


def compared(model: Any, folder: Path, **wanted: Any) -> imported.Built:
    """The net of a model, after its outputs were found to be those of ONNX Runtime."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    want = request(**wanted)
    net = imported.read(path, want)
    built = imported.build(net, want, path)
    found = built.compare(path)
    assert found
    assert max(one.size for one in found) < 1e-5, net.text
    return built
