"""A stand-in for a GPU, so that what drives one is tested without: memory of the host, streams that have always
finished, graphs that remember launches. Kernels are interpreted: TRITON_INTERPRET=1 must be set before triton is
imported, so `test_cuda.py` runs this file in a process of its own, which prints how each check ended as JSON.
"""

from __future__ import annotations

import gc
import io
import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from netc.compiler.program import UserError
from netc.runtime.executable import Executable
from netc.runtime.state import State
from netc.runtime.triton.run import device, opening
from netc.runtime.triton.run.launch import Launcher
from support.hand_written import scale
from support.interpreted import state_of

X = np.ones((2, 3), np.float32)
recording: list[Launcher] | None = None
fails = False
skips = False
log: list[str] = []


class Event:
    """A mark in time."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        log.append("event waited for")

    def elapsed_time(self, other: Event) -> float:
        return 1e3 * (other.at - self.at)


class Graph:
    """Launches, to be done again."""

    def __init__(self) -> None:
        self.launches: list[Launcher] = []

    def replay(self) -> None:
        log.append("replay")
        for launch in self.launches[1 if skips else 0 :]:
            plain_call(launch)


@contextmanager
def record(graph: Graph, *, capture_error_mode: str) -> Iterator[None]:
    global recording
    assert capture_error_mode == "thread_local"
    assert not gc.isenabled()
    if fails:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")
    recording = graph.launches
    try:
        yield
    finally:
        recording = None


plain_call = Launcher.__call__


def call(self: Launcher) -> None:
    if recording is not None:
        recording.append(self)
    else:
        log.append("launch")
        plain_call(self)


def stand_in() -> Any:
    """What `usable_torch` gives where there is a GPU."""
    cuda = SimpleNamespace(
        current_device=lambda: 0,
        current_stream=lambda where: SimpleNamespace(synchronize=lambda: log.append("wait")),
        get_device_properties=lambda where: SimpleNamespace(name="Stand-in", total_memory=80e9),
        get_device_capability=lambda where: (9, 0),
        mem_get_info=lambda where: (2e9, 80e9),
        OutOfMemoryError=MemoryError,
        Event=Event,
        CUDAGraph=Graph,
        graph=record,
        set_stream=lambda stream: log.append("stream set"),
        _sleep=lambda cycles: log.append("sleep"),
    )
    return SimpleNamespace(
        device=lambda kind, number: torch.device("cpu"),
        uint8=torch.uint8,
        zeros=torch.zeros,
        version=SimpleNamespace(hip=None),
        cuda=cuda,
    )


def executable(state: State) -> Executable:
    return Executable(scale(), state, "cuda")


def run(exe: Executable) -> float:
    """What the program multiplied by, which is its state before it added 1."""
    outputs = exe.run({"x": X})
    assert (outputs["y"] == outputs["y"][0, 0]).all()
    return float(outputs["y"][0, 0])


def steps_are_replayed() -> None:
    state = state_of(scale(), {"w": np.float32(5)})
    exe = executable(state)
    del log[:]
    assert [run(exe) for _ in range(4)] == [5, 6, 7, 8]
    assert log.count("launch") == 2
    assert log.count("replay") == 3
    assert state.buffers["w"] == 9
    state["w"] = 1.0
    assert run(exe) == 1


def nothing_waits_inside_a_step() -> None:
    exe = executable(state_of(scale(), {}))
    run(exe)
    del log[:]
    run(exe)
    # The stream is waited for once, for the outputs, when all of the step is on it.
    assert "replay" in log
    assert log.count("wait") == 1
    assert log[-1] == "wait"


def replay_is_the_same_as_launching() -> None:
    found = []
    for replays in (True, False):
        state = state_of(scale(), {"w": np.float32(1)})
        exe = executable(state)
        exe._engine._loaded.replays = replays  # type: ignore[attr-defined]
        found.append([run(exe) for _ in range(3)])
    assert found[0] == found[1] == [1, 2, 3]


def calls_between_launches_are_recorded_with_them() -> None:
    """In the first step, and while it is recorded; a replay does what they asked for, and calls none."""
    exe = executable(state_of(scale(), {"w": np.float32(1)}))
    run(exe)
    seen = []
    exe.interleave({0: lambda: seen.append((log.count("launch"), recording is not None))})
    del log[:]
    assert [run(exe) for _ in range(3)] == [2, 3, 4]
    assert seen == [(1, False), (2, True)]
    assert log.count("replay") == 2
    exe.interleave({})
    assert run(exe) == 5
    assert len(seen) == 2


def a_step_that_cannot_be_recorded_is_launched() -> None:
    global fails
    fails = True
    exe = executable(state_of(scale(), {"w": np.float32(1)}))
    told = io.StringIO()
    with redirect_stderr(told):
        assert [run(exe) for _ in range(3)] == [1, 2, 3]
    fails = False
    assert gc.isenabled()
    assert log.count("stream set") == 1
    assert told.getvalue() == (
        "netc: the step cannot be recorded as a CUDA graph, kernels are launched singly: "
        "operation not permitted when stream is capturing\n"
    )


def times_are_taken() -> None:
    state = state_of(scale(), {"w": np.float32(1)})
    exe = executable(state)
    assert run(exe) == 1
    timed = exe.timed({"x": X})
    assert [launch.function for launch, _ in timed] == ["scale", "count"]
    assert all(seconds > 0 for _, seconds in timed)
    assert state.buffers["w"] == 3
    assert exe.seconds({"x": X}, times=4) > 0
    assert state.buffers["w"] == 7


def what_is_timed_first_of_all_is_one_step() -> None:
    for first, steps in (("timed", 1), ("seconds", 1), ("seconds", 3)):
        state = state_of(scale(), {"w": np.float32(5)})
        exe = executable(state)
        del log[:]
        if first == "timed":
            assert all(seconds > 0 for _, seconds in exe.timed({"x": X}))
        else:
            assert exe.seconds({"x": X}, times=steps) > 0
        assert state.buffers["w"] == 5 + steps
        assert log.count("launch") == 2  # of the first step only
        assert log.count("replay") == steps - 1
        assert run(exe) == 5 + steps
        assert run(exe) == 6 + steps
        assert log.count("replay") >= 1


def a_replay_that_leaves_something_out_is_found() -> None:
    global skips
    for skip, wrong in ((False, []), (True, ["y"])):
        skips = skip
        state = state_of(scale(), {"w": np.float32(5)})
        exe = executable(state)
        del log[:]
        outputs, differing = exe.twice({"x": X})
        assert (outputs["y"] == 5).all()
        assert differing == wrong
        assert log.count("launch") == 2
        assert log.count("replay") == 1
        assert state.buffers["w"] == 6
    skips = False


def programs_share_the_state() -> None:
    state = state_of(scale(), {"w": np.float32(1)})
    one, other = executable(state), executable(state)
    assert [run(one), run(other), run(one)] == [1, 2, 3]
    state.keep()
    assert run(other) == 4
    state.undo()
    assert run(one) == 4


def memory_that_is_not_there() -> None:
    large = replace(scale(), arena_bytes=1 << 50)
    with pytest.raises(UserError, match=r"needs 1125899.9 GB on the GPU, which has 2.0 GB left"):
        Executable(large, state_of(large, {}), "cuda")


def page_locked_memory_that_is_not_there() -> None:
    cuda = opening.open_cuda()
    with pytest.raises(UserError, match=r"no 34\.4 GB left of page-locked memory") as caught:
        cuda.tensor(1 << 35, pinned=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        cuda.tensor(1 << 36, pinned=True)


def large_outputs_have_no_memory_of_their_own() -> None:
    cuda = opening.open_cuda()
    large = cuda.allocate("large", device.PINNED + 4)
    large.write(np.arange(device.PINNED // 4 + 1, dtype=np.int32))
    (found,) = cuda.read([(large, 4, device.PINNED)])
    assert found.view(np.int32)[-1] == device.PINNED // 4
    before = len(cuda._landing)
    small = cuda.allocate("small", 8)
    small.write(np.arange(2, dtype=np.int32))
    (found,) = cuda.read([(small, 0, 8)])
    assert found.view(np.int32).tolist() == [0, 1]
    assert len(cuda._landing) == before + 1
    del small
    assert len(cuda._landing) == before


CHECKS = (
    steps_are_replayed,
    nothing_waits_inside_a_step,
    replay_is_the_same_as_launching,
    calls_between_launches_are_recorded_with_them,
    a_step_that_cannot_be_recorded_is_launched,
    times_are_taken,
    what_is_timed_first_of_all_is_one_step,
    a_replay_that_leaves_something_out_is_found,
    programs_share_the_state,
    memory_that_is_not_there,
    page_locked_memory_that_is_not_there,
    large_outputs_have_no_memory_of_their_own,
)


def main() -> None:
    device.usable_torch = stand_in
    Launcher.__call__ = call  # type: ignore[method-assign]
    plain_zeros = torch.zeros

    def zeros(size: int, **settings: Any) -> Any:
        if size > 1 << 40:
            raise MemoryError
        if "pin_memory" in settings and size >= 1 << 35:
            what = "out of memory" if size == 1 << 35 else "an illegal memory access was encountered"
            raise RuntimeError(f"CUDA error: {what}\nCUDA kernel errors might be reported at some other call")
        return plain_zeros(size, **settings)

    torch.zeros = zeros  # type: ignore[assignment]
    cuda = opening.open_cuda()
    assert (cuda.what, cuda.arch) == ("Stand-in, 80 GB", "cuda:90")
    found = {}
    for check in CHECKS:
        try:
            check()
            found[check.__name__] = ""
        except Exception:
            found[check.__name__] = traceback.format_exc()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
