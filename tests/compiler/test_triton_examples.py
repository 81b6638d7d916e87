"""Kernels of the examples in Triton's interpreter: each alone, against the oracle, and whole steps of the small nets.

Every kernel of a step reads the oracle's values, so that labels are labels and logarithms are taken of what is
positive. What it gives may differ from the oracle's evaluation of its body in double precision by four times the error
that `netc.verification.budget` derives from the sizes of its sums, element by element.

The large nets are run as they are, at batch 1; what `make test` takes of them has smaller images and fewer channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.loops.pointwise import call
from netc.compiler.codegen.triton import spelling
from netc.compiler.graph import Graph, Node
from netc.compiler.ops.partial import undivided
from netc.compiler.ops.rounding import Arithmetic
from netc.compiler.program import Program
from netc.numbers import Precision
from support import example_nets, lone_kernels
from support.interpreted import run_interpreted
from support.lone_kernels import Ran, run_each
from support.lowered import kernels_of
from support.triton_folders import needs_triton
from support.triton_nets import GPU, check_step, made, run_all

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = sorted(example_nets.LARGE - example_nets.SAME)
SMALL = tuple(sorted(file.stem for file in EXAMPLES.glob("*.net") if file.stem not in example_nets.LARGE))
SLOW = [pytest.mark.slow]


@pytest.fixture(autouse=True)
def _triton() -> None:
    needs_triton()


def example(name: str) -> Path:
    return EXAMPLES / f"{name}.net"


def once_each() -> Callable[[Node], bool]:
    """Of the kernels with the same ops in the same order the first."""
    seen: set[tuple[object, ...]] = set()

    def chosen(kernel: Node) -> bool:
        body, _ = undivided(kernel.attrs["body"])
        form = (kernel.attrs["kind"], *(node.op.name for node in body.order if node.op.family not in ("source",)))
        new = form not in seen
        seen.add(form)
        return new

    return chosen


def smaller(name: str, folder: Path) -> Path:
    """A large net with a fourth of the channels (hidden linear layers: a 32nd) and images of 96 or 67."""

    def fewer(numbers: str) -> str:
        return re.sub(r"\d+", lambda m: str(int(m[0]) // (4 if int(m[0]) < 1024 else 32)), numbers)

    text = example(name).read_text(encoding="utf-8")
    text, found = re.subn(
        r"\b((?:c|conv|fc|linear|stage)\()(\d+)|\b(inception\()([\d, ]+)",
        lambda m: (m[1] or m[3]) + fewer(m[2] or m[4]),
        text,
    )
    assert found > 4
    for old, new in (("227", "67"), ("224", "96"), ("avg_pool(7, ", "avg_pool(3, ")):
        text = text.replace(old, new)
    file = folder / f"{name}.net"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in example_nets.REPEATED else []) for name in SMALL]
)
def test_every_kernel_of_a_small_net(name: str, mode: str) -> None:
    run_all(made(example(name), mode, 2))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("name", LARGE)
def test_every_kernel_of_a_large_net(name: str, mode: str) -> None:
    run_all(made(example(name), mode, 1))


@pytest.mark.parametrize("name", LARGE)
def test_kernels_of_a_large_net_made_smaller(name: str, tmp_path: Path) -> None:
    """One of each form, at batch 2."""
    run_all(made(smaller(name, tmp_path), "train", 2, classes=40), once_each())


def adds_parts(ran: list[Ran]) -> bool:
    """Whether a kernel adds what another has summed in parts."""
    return any(one.kernel.attrs["kind"] == "finish" for one in ran)


# GoogLeNet's would take more than five minutes.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["caffenet", "resnet18"])
def test_kernels_of_a_large_net_made_smaller_in_the_blocks_of_a_gpu(name: str, tmp_path: Path) -> None:
    """One of each form: a loop takes many more turns than in the blocks of the interpreter."""
    ran = run_all(made(smaller(name, tmp_path), "train", 2, arch=GPU, classes=40), once_each())
    assert adds_parts(ran)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name not in ("logreg", "user_op") else []) for name in SMALL]
)
def test_every_kernel_in_the_blocks_of_a_gpu(name: str) -> None:
    ran = run_all(made(example(name), "train", 2, arch=GPU))
    assert name == "logreg" or any(one.kernel.attrs["kind"] == "finish" for one in ran), (
        "no kernel adds what others have summed in parts"
    )


@pytest.mark.parametrize("precision", ["bf16", "f16"])
@pytest.mark.parametrize("name", ["lenet", pytest.param("cifar10_full", marks=SLOW)])
def test_every_kernel_in_half_precision(name: str, precision: Precision) -> None:
    run_all(made(example(name), "train", 2, precision=precision))


@pytest.mark.parametrize("precision", ["bf16", "f16"])
@pytest.mark.parametrize("name", ["lenet", pytest.param("cifar10_full", marks=SLOW)])
def test_steps_in_half_precision(name: str, precision: Precision) -> None:
    check_step(made(example(name), "train", 2, precision=precision))


QUICK = ("cifar10_full", "lenet", "logreg", "user_op")


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW if name not in QUICK else []) for name in SMALL])
def test_steps_of_the_small_nets(name: str) -> None:
    check_step(made(example(name), "train", 2))


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spelling.SPELL, "exp", call("tl.exp(1.0001 * {0})"))
    with pytest.raises(AssertionError, match="the budget is"):
        run_all(made(example("logreg"), "train", 2))


@pytest.mark.parametrize(("sanitized", "told"), [(True, "writes between the elements of"), (False, "wrote beside")])
def test_a_write_beside_the_results_is_found(sanitized: bool, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the other part of a concat, which is memory as well: by its access, and by the bytes that it leaves."""
    x, w = ops.input_(name="x", shape=(2, 3), dtype="f32"), ops.input_(name="w", shape=(3, 4), dtype="f32")
    graph = Graph({"joined": ops.concat(ops.exp(x), ops.dot(x, w), axis=1)})
    kernels = kernels_of(graph, "triton", arch="interpreter")
    feeds = {"x": np.ones((2, 3), np.float32), "w": np.ones((3, 4), np.float32)}
    ran = [*run_each(kernels, feeds, Arithmetic())]
    assert len(ran) == 2
    assert all(one.ok for one in ran)

    def shifted(program: Program, *arrays: Any) -> Any:
        source = program.source.replace("tl.store(out0 + ", "tl.store(out0 + 1 + ")
        assert source != program.source
        return run_interpreted(replace(program, source=source), *arrays, sanitized=sanitized)

    monkeypatch.setattr(lone_kernels, "run_interpreted", shifted)
    with pytest.raises(AssertionError, match=told):
        list(run_each(kernels, feeds, Arithmetic()))
