"""Differential testing of a model: ONNX Runtime beside netc's own program, on random input, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.graph import Node
from ..driver import Compilation
from ..grammar.source import UserError
from ..runtime.state import State
from ..verification.subject import made_up_inputs
from .exporting import Export, model_of

Array = np.ndarray[Any, Any]
# How many records are compared where the batch is free.
RECORDS = 2


@dataclass(frozen=True)
class Difference:
    """How far two values of a layer or an output lie apart at most, in units of the largest of them."""

    name: str
    size: float

    def __str__(self) -> str:
        return f"{self.name} {self.size:.1e}"


def runtime() -> Any:
    """The package onnxruntime; UserError where it is not installed."""
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise UserError(f"a model is compared by ONNX Runtime ({error}): pip install onnxruntime") from None


def installed() -> bool:
    """Whether there is ONNX Runtime."""
    return find_spec("onnxruntime") is not None


def run(model: bytes | Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a model, its bytes or a file, by ONNX Runtime: as it is written, without fusions of its own."""
    ort = runtime()
    how = ort.SessionOptions()
    how.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    how.log_severity_level = 4
    given = str(model) if isinstance(model, Path) else model
    try:
        session = ort.InferenceSession(given, how, providers=["CPUExecutionProvider"])
        read = {value.name for value in session.get_inputs()}
        found = session.run(None, {name: value for name, value in feeds.items() if name in read})
    except Exception as error:  # of kinds that onnxruntime does not export
        reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
        raise UserError(f"ONNX Runtime does not run the model: {reason[:300]}") from None
    return dict(zip((value.name for value in session.get_outputs()), found, strict=True))


def compare(given: Export, model: Any, seed: int = 0) -> tuple[list[Difference], list[Difference]]:
    """The differences of the outputs of a model, and of the layers of the same net exported with all of them."""
    names = _layers(given.first)
    whole = given.keeping(names)
    first = whole.first if len(whole.made) == 1 else _of(given.first, RECORDS).keeping(names)
    state = State(first.state)
    for name in first.net.graph.params:
        state[name][...] = given.state[name]
    feeds = made_up_inputs(first, np.random.default_rng(seed))
    ours = first.executables(state)[0].run(feeds)
    outputs = run(model.SerializeToString(), feeds)
    layers = run(model_of(whole).SerializeToString(), feeds) if names else {}
    return (
        [Difference(name, difference(ours[name], value)) for name, value in outputs.items()],
        [Difference(name, difference(ours[name], layers[name])) for name in names],
    )


def _of(made: Compilation, batch: int) -> Compilation:
    want = replace(made.request, dims={**made.request.dims, "N": batch})
    return Compilation(made.experiment, want, spec=made.spec)


def _layers(made: Compilation) -> list[str]:
    """The layers whose values the outputs depend on."""
    net = made.net
    taken: set[Node] = {*net.graph.outputs.values()}
    found = []
    for name, tops in net.tops.items():
        node = net.named.get(name)
        fresh = node is not None and node in tops and node in net.graph.users and node not in taken
        if node is not None and fresh and node.op.family != "source" and name not in net.graph.outputs:
            taken.add(node)
            found.append(name)
    return found


def difference(ours: Array, other: Array) -> float:
    """The largest difference of two arrays over the largest magnitude of the first; infinite for other shapes."""
    if ours.shape != other.shape:
        return float("inf")
    if not ours.size:
        return 0.0
    a, b = (np.asarray(x, np.float64) for x in (ours, other))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    size = np.max(np.abs(a[np.isfinite(a)]), initial=0.0) or 1.0
    return float(np.max(np.where(same, 0.0, np.abs(a - b)))) / float(size)
