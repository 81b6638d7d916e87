"""Kernels compiled together and judged for the tuner, by Triton's JIT with a driver that starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_jit import Driver, _driver  # noqa: F401  (the fixture puts the driver in place)

from netc.compiler.program import Program
from netc.driver import compilation
from netc.runtime.triton.bench import DeviceBench, SharingCuda
from netc.runtime.triton.launch import Launcher, Layout, functions_of
from netc.runtime.triton.warming import compile_together

LOGREG = Path(__file__).parents[2] / "examples" / "logreg.net"


def step(batch: int = 8) -> Program:
    made = compilation(LOGREG, mode="train", dims={"N": batch}, target="triton", device="cpu")
    return made.on("cuda:90").program


def launchers(program: Program) -> list[Launcher]:
    layout = Layout(program)
    starts = {name: number << 32 for number, name in enumerate(layout.memories, 1)}
    functions = functions_of(program.source)
    return [Launcher(call, functions, starts) for call in layout.step]


def test_what_is_compiled_together_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = launchers(step())
    assert len(found) > 3
    compile_together(found)
    from triton.runtime.jit import JITFunction

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a kernel is compiled at its launch")

    monkeypatch.setattr(JITFunction, "_do_compile", refuse)
    for launcher in found:
        launcher()


def test_a_kernel_that_fails_does_not_end_the_others() -> None:
    program = step()
    text = program.source.replace("tl.program_id(0)", "tl.no_such_thing(0)", 1)
    assert text != program.source
    layout = Layout(program)
    starts = {name: number << 32 for number, name in enumerate(layout.memories, 1)}
    found = [Launcher(call, functions_of(text), starts) for call in layout.step]
    compile_together(found)
    bad = 0
    for launcher in found:
        try:
            launcher()
        except Exception:
            bad += 1
    assert bad == 1


def bench() -> DeviceBench:
    """A bench of the GPU that is not there: memory cannot be had, but kernels are judged."""
    device = SharingCuda.__new__(SharingCuda)
    device._known = {}
    found = DeviceBench.__new__(DeviceBench)
    found._device = device
    return found


def test_kernels_that_spill_are_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    program = step()
    names = [function.name for function in program.functions]
    assert not bench().unfit(program, names)
    monkeypatch.setattr(Driver, "load_binary", lambda *_: (1, 2, 255, 16, 1024))
    assert list(bench().unfit(program, names)) == names


def test_kernels_that_take_more_than_there_is_are_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    program = step()
    monkeypatch.setattr(Driver, "load_binary", lambda *_: (1, 2, 32, 0, 64))  # most threads of a block
    wide = [function.name for function in program.functions if 32 * function.warps > 64]
    assert wide
    assert list(bench().unfit(program, [function.name for function in program.functions])) == wide


def test_equal_functions_of_two_programs_are_one() -> None:
    device, program = bench()._device, step()
    for function in program.functions:
        moved = program.source.replace("import triton\n", "import triton\n\n# moved\n", 1)
        assert device.function(program.source, function.name) is device.function(moved, function.name)
