"""Programs in the interpreter whose accesses to memory are looked at."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from netc.compiler.program import Program, UserError
from netc.runtime.state import State
from netc.runtime.triton.interpreter.process import Interpreter, WorkerProgram
from netc.runtime.triton.run.engine import DeviceEngine
from netc.runtime.triton.run.state_copy import copy_on

from .findings import AccessFault, faults_of
from .spans import spans_of

PHASES = ("prepare", "step")


class SanitizingInterpreter(Interpreter):
    """Triton's interpreter in a process that can look at accesses.

    unable: why it cannot: what this version of Triton lacks; empty where it can.
    """

    worker = "support.sanitizer.worker"
    folders = (Path(__file__).parents[2],)

    def __init__(self, timeout: float | None = None) -> None:
        super().__init__(timeout)
        missing = self.ask({"do": "missing"})[0]["missing"]
        self.unable = f"{self.told}, has no {', '.join(missing)}" if missing else ""


class SanitizedEngine(DeviceEngine):
    """A program whose accesses are looked at; else as `DeviceEngine(checked=True)`."""

    def __init__(self, program: Program, state: State, device: SanitizingInterpreter) -> None:
        super().__init__(program, state, device, copy_on(state, device), checked=True)
        if device.unable:
            raise UserError(device.unable)
        assert isinstance(self._loaded, WorkerProgram)
        self._process, self._number = device, self._loaded.number
        phases = {phase: [[astuple(s) for s in call] for call in spans_of(program, phase)] for phase in PHASES}
        device.ask({"do": "sanitize", "program": self._number, "phases": phases})
        self.accesses = 0
        self.traffic: dict[tuple[str, int], int] = {}  # bytes touched by each launch, by phase and number

    def faults(self) -> list[AccessFault]:
        """What was wrong with accesses since the last call; `accesses`: how many elements were read and written."""
        answer = self._process.ask({"do": "findings", "program": self._number})[0]
        self.accesses = answer["accesses"]
        self.traffic = {(phase, call): count for phase, call, count in answer["traffic"]}
        return faults_of(self.program, answer["found"])
