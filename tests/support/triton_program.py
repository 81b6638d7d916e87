"""Running a graph through the triton target in Triton's interpreter; beside it the oracle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.compiler.kernel import Blocks
from netc.compiler.loops.domain import domain_of
from netc.compiler.program import Program
from netc.passes.lowering import schedule
from netc.passes.unit import Unit
from support.interpreted import run_interpreted
from support.lowered import kernels_of, lower
from support.numpy_program import made_up

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
# What may be lost by rounding, of the largest number there is.
TOLERANCES = {"f32": 2e-5, "f64": 1e-11, "f16": 2e-3, "bf16": 1.6e-2}


@contextmanager
def in_blocks(blocks: Blocks, kind: str = "reduce") -> Iterator[None]:
    """Kernels of a kind in such blocks, whatever their size."""
    chosen = schedule.blocks_of

    def forced(body: Graph, *rest: Any) -> Blocks:
        domain = domain_of(body)
        if domain.kind != kind:
            return chosen(body, *rest)
        return blocks if kind != "reduce" or domain.splits else replace(blocks, split=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "blocks_of", forced)
        yield


def nests(graph: Graph, *, enabled: bool = True, nofuse: Collection[str] = (), arch: str = "cuda:90") -> Unit:
    """A graph of primitives as kernels for a GPU."""
    return kernels_of(graph, "triton", fused=enabled, nofuse=nofuse, arch=arch)


def program_of(graph: Graph, *, fused: bool = True, arch: str = "interpreter") -> Program:
    return lower(graph, name="test", target="triton", fused=fused, arch=arch)


def run(graph: Graph, feeds: Mapping[str, Array], *, fused: bool = True) -> tuple[Arrays, Arrays]:
    """The outputs and the state after one step."""
    program = program_of(graph, fused=fused)
    state = {k: v for k, v in feeds.items() if k in program.state}
    return run_interpreted(program, {k: v for k, v in feeds.items() if k in program.inputs}, state)


def assert_like_oracle(
    graph: Graph,
    *,
    fused: bool = True,
    tolerance: float | None = None,
    feeds: Mapping[str, Array] | None = None,
    run: Callable[..., tuple[Arrays, Arrays]] = run,
) -> None:
    """A step through the target gives what the oracle gives: NaN and infinities where it has them.

    run: how a target runs a graph, `run` of this module for Triton.
    """
    feeds = made_up(graph) if feeds is None else feeds
    with np.errstate(all="ignore"):
        wanted, updates = evaluate(graph, feeds)
    outputs, state = run(graph, feeds, fused=fused)
    for got, want in ((outputs, wanted), (state, updates)):
        assert got.keys() == want.keys()
        for name, value in want.items():
            node = {**graph.outputs, **graph.updates}[name]
            assert got[name].dtype == node.type.numpy_dtype
            assert got[name].shape == value.shape
            if value.dtype.kind != "f":
                np.testing.assert_array_equal(got[name], value, err_msg=name)
                continue
            loss = TOLERANCES[node.dtype] if tolerance is None else tolerance
            with np.errstate(all="ignore"):
                value = value.astype(node.type.numpy_dtype).astype(value.dtype)
            finite = np.abs(value[np.isfinite(value)])
            scale = max(1.0, float(np.max(finite, initial=0.0)))
            np.testing.assert_allclose(
                got[name].astype(value.dtype), value, rtol=loss, atol=loss * min(scale, 1e30), err_msg=name
            )
