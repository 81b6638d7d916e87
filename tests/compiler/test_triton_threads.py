"""What programs and threads do to memory that they share: kernels that were wrong, and how much is seen of what may be.

Masks are taken from the kernels of examples and places moved by one element, a single one each time: whatever the
numbers say, that is found by the sanitizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.ops.rounding import Arithmetic
from netc.compiler.program import Program
from netc.driver import compilation
from netc.numbers import Numbers
from netc.verification.subject import Subject
from support import lone_kernels
from support.interpreted import interpreter, run_interpreted, state_of
from support.lone_kernels import run_each
from support.sanitizer.engine import SanitizedEngine
from support.triton_folders import needs_triton

EXAMPLES = Path(__file__).parents[2] / "examples"
NET = """net tiny {
    input image: f32[N, 1, 6, 6]
    input label: i32[N]
    logits = image |> conv(2, 3) as conv1 |> tanh |> linear(3) as score
    loss nll = softmax_loss(logits, label)
}
data points = npz("points.npz", arrays: [image, label], batch: 4)
train tiny { from: points
    solver: sgd(lr: 0.01, momentum: 0.9)
    steps: 10
}
"""
BARRIER = "    tl.debug_barrier()\n"


def test_the_loss_scale_is_written_when_all_threads_have_read_it(tmp_path: Path) -> None:
    """One program updates all parameters, for which it divides by the scale, and then the scale itself.

    A thread that is late would divide by the new one. Without the barrier that is found; step and counter, which only
    their own new values depend on, are in order.
    """
    needs_triton()
    file = tmp_path / "tiny.net"
    file.write_text(NET, encoding="utf-8")
    made = compilation(
        file,
        mode="train",
        dims={"N": 2},
        target="triton",
        device="cpu",
        numbers=Numbers("f16"),
    )
    program, feeds = made.program, Subject(made, 0).feeds
    arrays = {name: feeds[name] for name in program.inputs}, {name: feeds[name] for name in program.state}
    assert program.source.count(BARRIER) == 1
    run_interpreted(program, *arrays)
    with pytest.raises(
        AssertionError, match=r"all threads of program 0 read \.scale and put it into a larger"
    ) as found:
        run_interpreted(replace(program, source=program.source.replace(BARRIER, "")), *arrays)
    assert "read .step" not in str(found.value)
    assert "read .good" not in str(found.value)


def mutants(source: str) -> Iterator[str]:
    """The text with one mask less, or with one place that is an element further."""
    for found in re.finditer(r", mask=[^,\n]*(, other=[^,)\n]*)?\)$", source, re.MULTILINE):
        yield f"{source[: found.start()]}){source[found.end() :]}"
    for found in re.finditer(r"tl\.(load|store)\(\w+ \+ ", source):
        yield f"{source[: found.end()]}1 + {source[found.end() :]}"


@pytest.mark.parametrize(
    ("name", "arch"), [("logreg", ""), ("logreg", "cuda:90"), pytest.param("user_op", "", marks=pytest.mark.slow)]
)
def test_mutants_of_kernels_are_found(name: str, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_triton()
    missed, tried = [], 0

    def run(program: Program, feeds: Any, state: Any) -> Any:
        nonlocal tried
        for source in mutants(program.source):
            held = state_of(program, state)
            engine = SanitizedEngine(replace(program, source=source), held, interpreter())
            engine.run({key: np.asarray(array) for key, array in feeds.items()})
            tried += 1
            if not engine.faults():
                missed.append([line for line in source.splitlines() if line not in program.source.splitlines()])
        return run_interpreted(program, feeds, state)

    monkeypatch.setattr(lone_kernels, "run_interpreted", run)
    made = compilation(EXAMPLES / f"{name}.net", mode="train", dims={"N": 2}, target="triton", device="cpu", arch=arch)
    assert all(one.ok for one in run_each(made.fused, Subject(made, 0).feeds, Arithmetic()))
    assert tried > 10
    assert not missed


def test_nothing_waits_where_nothing_is_written_over() -> None:
    needs_triton()
    for arch in ("", "cuda:90"):
        made = compilation(
            EXAMPLES / "lenet.net", mode="train", dims={"N": 64}, target="triton", device="cpu", arch=arch
        )
        assert "debug_barrier" not in made.program.source
