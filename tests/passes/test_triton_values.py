"""Random graphs and random training steps through the triton target, in the interpreter, in blocks of many sizes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.compiler.graph import Graph
from netc.compiler.kernel import Blocks
from support.fused_graphs import graphs
from support.numpy_program import made_up
from support.random_steps import training_step
from support.triton_program import assert_like_oracle, in_blocks

BLOCKS = [Blocks(rows=2, depth=4, split=2), Blocks(rows=1, depth=8), Blocks(rows=4, depth=64)]


@given(graphs(), st.booleans(), st.sampled_from(BLOCKS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_graphs(graph: Graph, fused: bool, blocks: Blocks) -> None:
    with in_blocks(blocks):
        assert_like_oracle(graph, fused=fused, tolerance=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_random_training_steps(seed: int) -> None:
    graph = training_step(Random(seed))
    feeds = made_up(graph, seed)
    feeds = {n: (v * 0.3).astype(v.dtype) if v.dtype.kind == "f" else v for n, v in feeds.items()}
    with in_blocks(Blocks(rows=4, depth=64, split=2)):
        assert_like_oracle(graph, feeds={n: np.asarray(v) for n, v in feeds.items()}, tolerance=2e-3)
