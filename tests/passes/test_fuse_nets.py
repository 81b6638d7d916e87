"""Training steps of random small nets through the numpy target: convolution, pooling, norms, a solver, in odd sizes."""

from __future__ import annotations

import contextlib
from random import Random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.numpy_program import assert_like_oracle, made_up, small_tiles
from support.random_steps import training_step


@given(st.integers(0, 2**32), st.integers(1, 3), st.sampled_from([0, 64, 512, 4096]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_training_steps_like_the_oracle(seed: int, threads: int, tile_bytes: int) -> None:
    graph = training_step(Random(seed))
    feeds = {name: (value * 0.3).astype(np.float32) for name, value in made_up(graph, seed % 1000).items()}
    with small_tiles(tile_bytes) if tile_bytes else contextlib.nullcontext():
        for fused in (True, False):
            assert_like_oracle(graph, threads=threads, fused=fused, feeds=feeds, tolerance=2e-3)
