"""A state with copies on devices: what is written there shows here when it is asked for, and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import Program
from netc.runtime.executable import Executable
from netc.runtime.state import State
from netc.runtime.triton.interpreter.process import Interpreter
from netc.runtime.triton.run.engine import DeviceEngine
from netc.runtime.triton.run.state_copy import copy_on
from support.hand_written import scale
from support.interpreted import interpreter, state_of

X = np.ones((2, 3), np.float32)


def step(state: State, program: Program | None = None) -> float:
    """A run of the program that multiplies by w and then adds 1 to it: what it multiplied by."""
    engine = DeviceEngine(program or scale(), state, interpreter(), copy_on(state, interpreter()))
    return float(engine.run({"x": X})["y"][0, 0])


@pytest.fixture
def state() -> State:
    return state_of(scale(), {"w": np.float32(5)})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests to the worker."""
    seen: list[str] = []
    plain = Interpreter.ask

    def ask(self: Interpreter, message: Any, blobs: Any = ()) -> Any:
        seen.append(message["do"])
        return plain(self, message, blobs)

    monkeypatch.setattr(Interpreter, "ask", ask)
    return seen


def test_programs_share_the_copy(state: State, asked: list[str]) -> None:
    """A test after a step sees what the step wrote, without the way over the host."""
    exe, other = Executable(scale(), state), Executable(scale(), state)
    del asked[:]
    assert [float(one.run({"x": X})["y"][0, 0]) for one in (exe, other, exe)] == [5, 6, 7]
    # One upload of the state at first; then only the feed is written, and only the output is read.
    assert asked == ["write", "write", "run", "read", *["write", "run", "read"] * 2]
    assert state.buffers["w"] == 8
    assert asked[-1] == "read"
    count = len(asked)
    assert state["w"] == 8
    assert len(asked) == count


def test_the_host_writes(state: State) -> None:
    assert step(state) == 5
    state["w"] = 20.0
    assert step(state) == 20
    state.buffers["w"][...] = 30
    state.touch()
    assert step(state) == 30
    assert state["w"] == 31
    state.fill(0)
    assert step(state) == 0


def test_an_array_that_was_handed_out_follows(state: State) -> None:
    w = state["w"]
    assert step(state) == 5
    assert w == 6
    w[...] = 10
    assert step(state) == 10
    assert w == 11


def test_files_and_snapshots_hold_what_was_computed(state: State, tmp_path: Path) -> None:
    step(state)
    state.save(tmp_path / "a.safetensors")
    logical = {name: array.copy() for name, array in state.logical().items()}
    step(state)
    assert state.finite("w")
    state.load(tmp_path / "a.safetensors")
    assert step(state) == 6
    step(state)
    state.restore(logical)
    assert step(state) == 6


def test_keep_and_undo(state: State, asked: list[str]) -> None:
    exe = Executable(scale(), state)
    state.keep()  # what is on the host
    for _ in range(2):
        exe.run({"x": X})
    state.undo()
    assert state.buffers["w"] == 5
    exe.run({"x": X})
    del asked[:]
    state.keep()  # what is on the device
    exe.run({"x": X})
    state.undo()
    assert "read" not in asked[:-1] or asked.count("read") == 1  # the output
    assert float(exe.run({"x": X})["y"][0, 0]) == 6
    assert state.buffers["w"] == 7


def test_two_devices(state: State) -> None:
    """The host passes on what one wrote to the other."""
    other = Interpreter(timeout=60)
    there = DeviceEngine(scale(), state, other, copy_on(state, other))
    assert step(state) == 5
    assert there.run({"x": X})["y"][0, 0] == 6
    assert there.run({"x": X})["y"][0, 0] == 7
    assert step(state) == 8
    assert state["w"] == 9
    other.close()


def test_a_state_is_kept_only_where_a_program_reads_it(state: State) -> None:
    from netc.compiler.program import StateInfo, TensorType

    held = State([*state.infos.values(), StateInfo("other", TensorType((4,)), "statistic")])
    held.buffers["w"][...] = 3
    held.touch()
    assert step(held) == 3
    held["other"] = np.ones(4)
    assert held["other"].sum() == 4
    assert held["w"] == 4
