"""Nets through the triton target in Triton's interpreter: each kernel alone, against the oracle, and whole steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.graph import Node
from netc.compiler.interpret import evaluate
from netc.compiler.ops.rounding import UNITS, Arithmetic
from netc.compiler.program import StateInfo
from netc.driver import Compilation, compilation
from netc.numbers import Numbers, Precision
from netc.verification.subject import Subject
from support.interpreted import run_interpreted
from support.lone_kernels import Ran, run_each

# Blocks of a GPU, small enough that there are several and the last hang over, and a finishing launch after some.
GPU = "cuda:90"


def made(
    file: Path, mode: str, batch: int, *, arch: str = "", precision: Precision = "f32", **settings: Any
) -> Compilation:
    """A program of a net, for the interpreter (few large blocks) or with the blocks of a GPU."""
    return compilation(
        file,
        mode=mode,
        dims={"N": batch},
        settings=settings,
        target="triton",
        device="cpu",
        arch=arch,
        numbers=Numbers(precision),
    )


def run_all(program: Compilation, chosen: Callable[[Node], bool] = lambda kernel: True) -> list[Ran]:
    """Each distinct kernel of a step, alone; all that are wrong in one message."""
    ran = [*run_each(program.fused, Subject(program, 0).feeds, Arithmetic(), chosen)]
    assert ran
    wrong = [str(one) for one in ran if not one.ok]
    assert not wrong, "\n".join(wrong)
    return ran


def check_step(program: Compilation) -> None:
    """The outputs of a training step, and by how much each tensor of state changes.

    Of a tensor's largest value the errors of all sums that lead to it may be lost, u sqrt(n) for a sum of n terms; and
    a unit of the narrow type, where a value stands between two of its numbers and one side rounds up.
    """
    subject = Subject(program, 0)
    feeds, graph, precision = subject.feeds, subject.final, program.request.numbers.precision
    whole = program.program
    outputs, state = run_interpreted(
        whole, {name: feeds[name] for name in whole.inputs}, {name: feeds[name] for name in whole.state}
    )
    wanted, updates = evaluate(graph, feeds, wide=precision == "f32")
    assert outputs.keys() == wanted.keys()
    assert state.keys() == updates.keys()
    loss = UNITS["f32"] * sum(map(lengths, graph.order)) + (UNITS[precision] if precision != "f32" else 0.0)
    for name, want in wanted.items():
        limit = loss * largest(want)
        np.testing.assert_allclose(outputs[name], want, rtol=0, atol=limit, err_msg=name)
    changed = 0
    for info in program.state:
        if (info.buffer or info.name) not in updates:
            continue
        got, want, old = (part(buffers, info) for buffers in (state, updates, feeds))
        limit = loss * largest(want - old) + 2 * UNITS["f32"] * largest(want)
        np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=info.name)
        changed += info.kind == "parameter" and bool(np.any(got != old))
    assert changed == sum(info.kind == "parameter" for info in program.state)


def lengths(node: Node) -> float:
    """The square root of how many terms a sum has; 0 for what is no sum."""
    if node.op.family == "reduce":
        return math.sqrt(math.prod(node.inputs[0].shape[a] for a in node.attrs["axes"]))
    if node.op.family == "contract":
        flops = node.op.flops(node.result, *(x.result for x in node.inputs), **node.attrs)
        return math.sqrt(flops / 2 / node.type.count)
    return 0.0


def largest(array: np.ndarray[Any, Any]) -> float:
    return float(np.abs(array).max(initial=0.0))


def part(buffers: dict[str, Any], info: StateInfo) -> np.ndarray[Any, Any]:
    """A tensor of state in double precision, from the buffers that hold it."""
    flat = np.asarray(buffers[info.buffer or info.name], np.float64).reshape(-1)
    return flat[info.offset : info.offset + info.type.count]
