"""Kernels compiled together and judged for the tuner, by Triton's JIT with a driver that starts nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netc.compiler.program import Program
from netc.driver import compilation
from netc.runtime.addresses import Layout
from netc.runtime.triton.compile.ahead import job_of
from netc.runtime.triton.compile.bench import DeviceBench, SharingCuda
from netc.runtime.triton.compile.warming import compile_together
from netc.runtime.triton.run.launch import Launcher, functions_of
from support.jit_driver import Driver, jit_driver

pytest.importorskip("triton")

LOGREG = Path(__file__).parents[2] / "examples" / "logreg.net"


@pytest.fixture(autouse=True, scope="module")
def _driver() -> Iterator[None]:
    with jit_driver():
        yield


def step(batch: int = 8) -> Program:
    made = compilation(LOGREG, mode="train", dims={"N": batch}, target="triton", device="cpu")
    return made.on(arch="cuda:90").program


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


def test_what_spills_is_compiled_again_as_ahead_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    program = step()
    loaded: list[str] = []

    def load_binary(_: Driver, name: str, *rest: Any) -> tuple[int, ...]:
        """The first kernel to be loaded spills until it may take more than 96 registers."""
        spills = 8 if loaded.count(name) < 2 and loaded[:1] in ([], [name]) else 0
        loaded.append(name)
        return 1, 2, 64, spills, 1024

    monkeypatch.setattr(Driver, "load_binary", load_binary)
    found = launchers(program)
    compile_together(found)
    name = loaded[0]
    assert loaded.count(name) == 3  # as it was, with 96, with 128
    given = {launcher.load().name: launcher.load().metadata.maxnreg for launcher in found}
    assert given.pop(name) == 128
    assert set(given.values()) == {None}


def test_what_spills_however_many_registers_it_has_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "load_binary", lambda *_: (1, 2, 255, 8, 1024))
    found = launchers(step())[:2]
    compile_together(found)
    assert [launcher.load().metadata.maxnreg for launcher in found] == [None, None]


def test_options_are_those_of_ahead_of_time() -> None:
    program = step()
    functions = {function.name: function for function in program.functions}
    for launcher in launchers(program):
        told = launcher.load().metadata
        for name, value in job_of(functions[told.name], program.source, "cuda:90").options:
            assert getattr(told, name, value) == value, name
