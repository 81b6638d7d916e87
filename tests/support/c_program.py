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

needs_compiler = pytest.mark.skipif(bool(remedy()), reason=f"there is no C compiler: {remedy()}")


def run(graph: Graph, feeds: Mapping[str, Array], *, fused: bool = True, **how: Any) -> tuple[Arrays, Arrays]:
    """The outputs and the state after one step. how: see `Choices`."""
    return run_program(graph, feeds, target="c", arch="cpu", fused=fused, **how)


assert_like_oracle = partial(triton_program.assert_like_oracle, run=run)
