"""Running a graph through the C target, where this machine has a C compiler."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from netc.compiler.graph import Graph
from netc.runtime.c.compiling import remedy
from support import triton_program
from support.numpy_program import Array, Arrays
from support.numpy_program import run as run_program

# Every way of writing a kernel, in sizes that tiles and blocks do not divide; and sums of one element.
EVERY_KERNEL = """net tiles {
    input image: f32[N, 3, 9, 7]
    input label: i32[N]
    x = image |> conv(40, 3, pad: 1) |> relu |> conv(36, 3, pad: 1) |> batch_norm |> conv(36, 3, pad: 1, group: 36)
    x = x |> max_pool(3, stride: 1, pad: 1) |> conv(10, 3, group: 2, stride: 2) |> lrn(3, region: within) |> tanh
    loss nll = softmax_loss(x |> linear(37) |> dropout(0.5) |> linear(3), label)
    loss one = mean(x |> linear(1))
}
data noise = synthetic(shape: [3, 9, 7], classes: 3, batch: 5)
train tiles {
    from: noise
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 1
}
"""

needs_compiler = pytest.mark.skipif(bool(remedy()), reason=f"there is no C compiler: {remedy()}")


def run(graph: Graph, feeds: Mapping[str, Array], *, fused: bool = True, **how: Any) -> tuple[Arrays, Arrays]:
    """The outputs and the state after one step. how: see `Choices`."""
    return run_program(graph, feeds, target="c", arch="cpu", fused=fused, **how)


assert_like_oracle = partial(triton_program.assert_like_oracle, run=run)
