"""Running a graph through the numpy target: fused, planned, written, executed; beside it the oracle."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.compiler.program import Program, StateInfo, joined
from netc.passes.fusion import tiles as legality
from netc.passes.host_calls import split
from netc.passes.lowering import tiling
from netc.passes.unit import Unit
from netc.runtime.executable import Executable
from netc.runtime.state import State
from support.lowered import kernels_of, lower

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


@contextmanager
def small_tiles(tile_bytes: int = 64) -> Iterator[None]:
    """Tiles of a few elements, and threads for the smallest kernels, so that small graphs meet all of that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(legality, "SMALL", 0)
        patch.setattr(tiling, "TILE_BYTES", tile_bytes)
        patch.setattr(tiling, "PRODUCT_TILE_BYTES", tile_bytes)
        patch.setattr(tiling, "WORTH_SPLITTING", 0.0)
        patch.setattr(tiling, "WORTH_SPLITTING_CALL", 0.0)
        yield


def tiles(graph: Graph, *, enabled: bool = True, nofuse: Collection[str] = (), threads: int = 1) -> Unit:
    """A graph of primitives as kernels for numpy."""
    return kernels_of(graph, "numpy", fused=enabled, nofuse=nofuse, threads=threads)


def program_of(graph: Graph, **how: Any) -> Program:
    """how: see `support.lowered.lower`."""
    parts = split(graph)
    if len(parts) == 1:
        return lower(graph, **how)
    lowered = [lower(part, **how) if isinstance(part, Graph) else part for part in parts]
    return joined(lowered, *({k: x.type for k, x in t.items()} for t in (graph.inputs, graph.outputs)))


def state_of(program: Program, values: Mapping[str, Array]) -> State:
    """A state with these values; what is not given is 0."""
    state = State([StateInfo(name, type_, "statistic", buffer=name) for name, type_ in program.state.items()])
    for name, value in values.items():
        np.copyto(state.buffers[name], value)
    state.touch()
    return state


def run(graph: Graph, feeds: Mapping[str, Array], **how: Any) -> tuple[Arrays, Arrays]:
    """The outputs and the state after one step. how: see `program_of`."""
    program = program_of(graph, **how)
    state = state_of(program, {k: v for k, v in feeds.items() if k in program.state})
    outputs = Executable(program, state).run({k: v for k, v in feeds.items() if k in program.inputs})
    return outputs, {k: state.buffers[k].copy() for k in program.updates}


def made_up(graph: Graph, seed: int = 0) -> Arrays:
    """Numbers for all inputs and state."""
    rng = np.random.default_rng(seed)
    found: Arrays = {}
    for name, node in {**graph.inputs, **graph.params}.items():
        dtype = node.type.numpy_dtype
        if dtype.kind == "f":
            found[name] = rng.standard_normal(node.shape).astype(dtype)
        elif dtype.kind == "b":
            found[name] = rng.random(node.shape) < 0.5
        else:
            found[name] = rng.integers(0, 4, node.shape).astype(dtype)
    return found


def assert_like_oracle(
    graph: Graph,
    *,
    tolerance: float = 2e-5,
    seed: int = 0,
    feeds: Mapping[str, Array] | None = None,
    **how: Any,
) -> None:
    """A step through the target gives what the oracle gives. how: see `program_of`."""
    feeds = made_up(graph, seed) if feeds is None else feeds
    with np.errstate(all="ignore"):
        wanted, updates = evaluate(graph, feeds)
    outputs, state = run(graph, feeds, **how)
    for got, want in ((outputs, wanted), (state, updates)):
        assert got.keys() == want.keys()
        for name, value in want.items():
            node = {**graph.outputs, **graph.updates}[name]
            assert got[name].dtype == node.type.numpy_dtype
            assert got[name].shape == value.shape
            scale = max(1.0, float(np.max(np.abs(value), initial=0.0))) if value.dtype.kind == "f" else 0.0
            np.testing.assert_allclose(
                got[name].astype(value.dtype), value, rtol=tolerance, atol=tolerance * scale, err_msg=name
            )
