"""Launches through Triton's JIT, compiled in earnest for a GPU that is not there: the driver is a stand-in."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hand_written import copy, scale

from netc.compiler.program import Program
from netc.runtime.triton.run.launch import Launcher, Layout, Pointer, functions_of

pytest.importorskip("triton")

EXAMPLES = Path(__file__).parents[2] / "examples"
launched: list[tuple[tuple[int, ...], list[Any]]] = []


class Starter:
    """What Triton makes for a compiled kernel to start it."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.constants = {path[0] for path in source.constants}

    def __call__(self, x: int, y: int, z: int, stream: int, *rest: Any) -> None:
        bound = rest[5:]  # after the function, two kinds of metadata, two hooks
        launched.append(((x, y, z), [one for i, one in enumerate(bound) if i not in self.constants]))


class Driver:
    """Triton's driver of an H100."""

    def __init__(self) -> None:
        self.utils = self
        self.launcher_cls = Starter

    def load_binary(self, *_: Any) -> tuple[int, ...]:
        return 1, 2, 32, 0, 1024

    def unload_module(self, module: int) -> None:
        pass

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "max_num_regs": 65536, "multiprocessor_count": 132, "warpSize": 32}

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@pytest.fixture(autouse=True)
def _driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from triton.runtime import driver

    monkeypatch.setattr(driver, "_active", Driver())
    launched.clear()
    yield
    launched.clear()
    gc.collect()  # kernels ask the driver to unload them


def launch(program: Program) -> dict[str, int]:
    """Launch everything; where each memory begins."""
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
