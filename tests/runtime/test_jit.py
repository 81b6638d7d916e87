"""Launches through Triton's JIT, compiled in earnest for a GPU that is not there: the driver is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from netc.compiler.program import Program
from netc.runtime.addresses import Layout
from netc.runtime.triton.run.launch import Launcher, Pointer, functions_of
from support.hand_written import copy, scale
from support.jit_driver import jit_driver, launched

pytest.importorskip("triton")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True, scope="module")
def _driver() -> Iterator[None]:
    with jit_driver():
        yield


def launch(program: Program) -> dict[str, int]:
    """Launch everything; where each memory begins."""
    launched.clear()
    layout = Layout(program)
    starts = {name: number << 32 for number, name in enumerate(layout.memories, 1)}
    functions = functions_of(program.source)
    for call in (*layout.prepare, *layout.step):
        Launcher(call, functions, starts)()
    return starts


def test_grids_and_addresses() -> None:
    starts = launch(scale())
    (first, pointers), (second, (w,)) = launched
    assert (first, second) == ((2, 1, 1), (1, 1, 1))
    x, y = starts["input:x"], starts["arena"] + 64
    assert [pointer.data_ptr() for pointer in pointers] == [x, starts["state:w"], y]
    assert w.data_ptr() == starts["state:w"]


@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16", "i64", "i32", "u32", "u8", "bool"])
def test_every_element_type_compiles(dtype: str) -> None:
    launch(copy(dtype))
    assert len(launched) == 1


def test_a_training_step_compiles() -> None:
    from netc.driver import compilation

    program = compilation(EXAMPLES / "logreg.net", mode="train", dims={"N": 8}, target="triton", arch="cuda:90").program
    launch(program)
    assert [len(pointers) for _, pointers in launched] == [len(one.arguments) for one in program.launches]
    assert all(isinstance(pointer, Pointer) for _, pointers in launched for pointer in pointers)
