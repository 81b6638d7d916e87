"""A compiled program on its memories: state in place, bound arrays, bfloat16 at the edge, times of launches."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.runtime.executable import Executable
from support.c_program import needs_compiler
from support.numpy_program import made_up, program_of, state_of
from support.random_steps import training_step
from support.short_nodes import fed, state

pytestmark = needs_compiler


def loaded(graph: Graph, **values: object) -> Executable:
    program = program_of(graph, target="c", arch="cpu")
    return Executable(program, state_of(program, {k: np.asarray(v) for k, v in values.items()}))


def test_updates_are_written_where_the_state_lies() -> None:
    w = state("w", 3)
    exe = loaded(Graph({"y": w * 2.0}, {"w": w + 1.0}), w=[1.0, 2.0, 3.0])
    assert exe.run({})["y"].tolist() == [2.0, 4.0, 6.0]
    assert exe.run({})["y"].tolist() == [4.0, 6.0, 8.0]
    assert exe.state.buffers["w"].tolist() == [3.0, 4.0, 5.0]


def test_bound_arrays_are_read_where_they_lie() -> None:
    exe = loaded(Graph({"y": fed("x", 2, 3) * 2.0}))
    x, y = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    exe.bind({"x": x}, {"y": y})
    assert exe.run({})["y"] is y
    x[:] = 4.0
    exe.run({})
    assert y.tolist() == [[8.0] * 3] * 2


def test_bfloat16_is_float32_for_the_caller() -> None:
    x, w = (make(name=name, shape=(4,), dtype="bf16") for make, name in ((ops.input_, "x"), (ops.param, "w")))
    exe = loaded(Graph({"y": ops.add(x, w)}, {"w": ops.mul(w, x)}), w=[1.0, 2.0, 0.5, 3.0])
    fed_ = np.array([1.0, 1.003, 2.0, -1.0], np.float32)  # of bf16 the second is 1
    assert exe.run({"x": fed_})["y"].tolist() == [2.0, 3.0, 2.5, 2.0]
    assert exe.state.buffers["w"].tolist() == [1.0, 2.0, 1.0, -3.0]


def test_each_launch_has_its_seconds() -> None:
    graph = training_step(Random(1))
    exe = loaded(graph)
    feeds = {k: v for k, v in made_up(graph).items() if k in exe.program.inputs}
    timed = exe.timed(feeds)
    assert [launch for launch, _ in timed] == [x for x in exe.program.launches if x.phase == "step"]
    assert all(0 <= seconds < 10 for _, seconds in timed)
    assert sum(seconds for _, seconds in timed) > 0


def test_nothing_is_read_before_it_was_written() -> None:
    """With NaN in all working memory a second run gives the same bits."""
    graph = training_step(Random(2))
    values = made_up(graph)
    exe = loaded(graph, **{name: values[name] for name in graph.params})
    _, differing = exe.twice({name: values[name] for name in graph.inputs})
    assert not differing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_runs_alone_what_its_parent_ran_on_threads() -> None:
    """In a process of its own, which has other threads in no way."""
    code = """
import os
import numpy as np
from netc.compiler.graph import Graph
from support.numpy_program import program_of, state_of
from support.short_nodes import fed
from netc.runtime.executable import Executable

program = program_of(Graph({"y": fed("x", 64, 64) * 2.0}), target="c", arch="cpu", threads=2)
exe, x = Executable(program, state_of(program, {})), np.ones((64, 64), np.float32)
assert exe.run({"x": x})["y"].sum() == 2 * x.size
child = os.fork()
if not child:
    os._exit(int(exe.run({"x": x})["y"].sum() != 2 * x.size))
print(os.waitpid(child, 0)[1], exe.run({"x": x})["y"].sum())
"""
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", code], env=where, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout == "0 8192.0\n"
