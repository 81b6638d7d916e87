"""What the autotuner measures with: programs of one state on a GPU, each launch timed by the GPU's own clock.

A function is kept by its text, so that the next program, which differs from the last in a few blocks, compiles only
what is new in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.program import Program
from ...addresses import Call, Layout
from ...state import State
from ..run.device import Cuda, CudaMemory, CudaProgram
from ..run.engine import DeviceEngine
from ..run.launch import Launcher, functions_of
from ..run.state_copy import copy_on
from .ahead import unit_of
from .warming import compile_together

RUNS = 15  # of a program, for the median of each launch
ALIGNED = 1 << 12  # where memories are said to begin for what is compiled and not run


class SharingCuda(Cuda):
    """The GPU, on which equal functions of several programs are one."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Any] = {}

    def function(self, source: str, name: str) -> Any:
        """A function of a module's text, by itself."""
        unit = unit_of(source, name)
        if unit not in self._known:
            self._known[unit] = functions_of(unit)[name]
        return self._known[unit]

    def launchers(self, source: str, calls: Sequence[Call], starts: Mapping[str, int]) -> list[Launcher]:
        """The calls, ready."""
        functions = {name: self.function(source, name) for name in dict.fromkeys(call.function for call in calls)}
        return [Launcher(call, functions, starts) for call in calls]

    def load(
        self, source: str, memories: Mapping[str, CudaMemory], prepare: Sequence[Call], step: Sequence[Call]
    ) -> CudaProgram:
        starts = {name: memory.tensor.data_ptr() for name, memory in memories.items()}
        before, then = self.launchers(source, prepare, starts), self.launchers(source, step, starts)
        compile_together([*before, *then])
        loaded = CudaProgram(self, before, then)
        loaded.replays = False  # launches are timed one by one
        return loaded


class DeviceBench:
    """Times programs of one state. feeds: several sets, taken in turn, so that caches hold what they hold in use."""

    def __init__(self, state: State, feeds: Sequence[Mapping[str, npt.NDArray[Any]]], *, runs: int = RUNS) -> None:
        self._device = SharingCuda()
        self._state = state
        self._feeds = feeds
        self._runs = runs

    def unfit(self, program: Program, functions: Collection[str]) -> Collection[str]:
        """Those of the functions that do not compile, spill registers, or take more than the device has."""
        layout = Layout(program)
        calls = {call.function: call for call in (*layout.prepare, *layout.step) if call.function in functions}
        starts = dict.fromkeys(layout.memories, ALIGNED)
        launchers = self._device.launchers(program.source, [*calls.values()], starts)
        compile_together(launchers)
        return [name for name, launcher in zip(calls, launchers, strict=True) if not _fits(launcher)]

    def seconds(self, program: Program) -> Sequence[float]:
        """The time of each launch of a step, the median of some."""
        engine = DeviceEngine(program, self._state, self._device, copy_on(self._state, self._device))
        engine.timed(self._feeds[0])
        runs = [engine.timed(self._feeds[i % len(self._feeds)]) for i in range(self._runs)]
        return [float(x) for x in np.median(np.array(runs), axis=0)]


def _fits(launcher: Launcher) -> bool:
    """Whether a kernel can be launched, and keeps its values in registers."""
    try:
        kernel = launcher.load()  # Triton asks there whether the device has what it takes
    except Exception:  # whatever the compiler or the driver says against a candidate
        return False
    return not kernel.n_spills
