"""A worker process as a device, seen from outside: Triton's interpreter, with its memory and kernels.

Slow (some milliseconds for each turn of a kernel's loop): for checking generated kernels on a machine without a GPU.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NoReturn

import numpy.typing as npt

from ....compiler.program import UserError
from ...addresses import Call
from ...sharing import Turn
from ..compile.version import REMEDY, unusable_triton
from .messages import Ended, receive, send

Array = npt.NDArray[Any]
SHOWN = 4000  # characters of what the worker wrote before it ended


class InterpreterError(Exception):
    """A kernel failed, wrote beside its memory, or ended the worker; the text says which, in the worker's words."""


class Interpreter:
    """A worker and its memory. timeout: seconds that one request may take before the worker is ended; None for any.

    worker: the module that it runs; folders: where modules are looked for beside the package's own.
    """

    worker = f"{__package__}.worker"
    folders: tuple[Path, ...] = ()

    def __init__(self, timeout: float | None = None) -> None:
        self.timeout = timeout
        self._turn = Turn()
        self._owner = os.getpid()
        self._numbers = 0
        self._names: dict[int, str] = {}
        self._left: deque[dict[str, Any]] = deque()  # requests to give back what nobody holds any more
        if told := unusable_triton():
            raise UserError(f"the target triton needs Triton. {told}: {REMEDY}")
        self._error = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the worker)
        package = str(__package__)
        home = Path(str(sys.modules[package.partition(".")[0]].__file__)).parents[1]
        environment = {
            **os.environ,
            "TRITON_INTERPRET": "1",
            "PYTHONPATH": os.pathsep.join(
                [str(home), *map(str, self.folders), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        # -P: a file named `triton.py` in the user's folder is not what is meant.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._error,
            env=environment,
        )
        atexit.register(self.close)
        self.told = f"Triton's interpreter, triton {self._answer()[0]['triton']}"

    @property
    def process_id(self) -> int:
        """The worker's."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the worker answers this process; the child of a fork starts its own."""
        return os.getpid() == self._owner and self._process.poll() is None

    def allocate(self, name: str, size: int, *, fed: bool = False) -> WorkerMemory:
        """Memory of so many bytes, zero; the name is for messages. fed: it is written before every step."""
        number = self._number()
        self.ask({"do": "allocate", "memory": number, "size": size})
        self._names[number] = name
        memory = WorkerMemory(self, number)
        weakref.finalize(memory, self._left.append, {"do": "free", "memory": number})
        return memory

    def copy(self, source: WorkerMemory, to: WorkerMemory) -> None:
        """Copy one memory to another of the same size."""
        self.ask({"do": "copy", "source": source.number, "to": to.number})

    def read(self, parts: Sequence[tuple[WorkerMemory, int, int]]) -> list[Array]:
        """Bytes of memories: (memory, start, size) each."""
        return self.ask({"do": "read", "parts": [(memory.number, start, size) for memory, start, size in parts]})[1]

    def load(
        self, source: str, memories: Mapping[str, WorkerMemory], prepare: Sequence[Call], step: Sequence[Call]
    ) -> WorkerProgram:
        """A program whose calls run at these memories."""
        number = self._number()
        self.ask(
            {
                "do": "load",
                "program": number,
                "source": source,
                "memories": {name: memory.number for name, memory in memories.items()},
                "calls": {"prepare": [astuple(call) for call in prepare], "step": [astuple(call) for call in step]},
            }
        )
        loaded = WorkerProgram(self, number)
        weakref.finalize(loaded, self._left.append, {"do": "drop", "program": number})
        return loaded

    def check(self) -> None:
        """Raise InterpreterError if a kernel wrote beside a memory."""
        found = self.ask({"do": "damaged"})[0]["damaged"]
        if found:
            raise InterpreterError(f"a kernel wrote beside {', '.join(self._names[number] for number in found)}")

    def ask(self, message: Mapping[str, Any], blobs: Sequence[Array] = ()) -> tuple[dict[str, Any], list[Array]]:
        """One request and its answer; requests of several threads come one after the other."""
        if os.getpid() != self._owner:
            raise InterpreterError("this program was made before the process forked: compile it in the child")
        with self._turn:
            while self._left:
                self._ask(self._left.popleft())
            return self._ask(message, blobs)

    def _ask(self, message: Mapping[str, Any], blobs: Sequence[Array] = ()) -> tuple[dict[str, Any], list[Array]]:
        process = self._process
        if process.stdin is None or process.stdin.closed:
            raise InterpreterError("the process of Triton's interpreter has ended")
        try:
            send(process.stdin, message, blobs)
        except BrokenPipeError:
            self._ended()
        except BaseException:  # half a message was sent, or an answer is still to come
            self.close()
            raise
        return self._answer()

    def _answer(self) -> tuple[dict[str, Any], list[Array]]:
        timer = None
        if self.timeout is not None:
            timer = threading.Timer(self.timeout, self._process.kill)
            timer.daemon = True
            timer.start()
        assert self._process.stdout is not None
        try:
            answer, blobs = receive(self._process.stdout)
        except Ended:
            self._ended()
        except BaseException:
            self.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if "error" in answer:
            raise InterpreterError(f"a kernel failed in Triton's interpreter:\n{answer['error']}")
        return answer, blobs

    def _ended(self) -> NoReturn:
        """Say how the worker ended."""
        self.close()
        self._error.seek(0)
        told = self._error.read().decode(errors="replace").strip()[-SHOWN:]
        code = self._process.returncode
        raise InterpreterError(
            f"the process of Triton's interpreter ended with status {code}" + f"\n{told}" * bool(told)
        )

    def close(self) -> None:
        """End the worker, if it is this process's."""
        if os.getpid() != self._owner:
            return
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was still to be written
                    stream.close()
        process.kill()
        process.wait()
        atexit.unregister(self.close)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


class WorkerMemory:
    """Bytes in the worker."""

    def __init__(self, owner: Interpreter, number: int) -> None:
        self._owner = owner
        self.number = number

    def write(self, data: Array) -> None:
        """Fill it with an array of as many bytes."""
        self._owner.ask({"do": "write", "memory": self.number}, [data])

    def fill(self, value: int) -> None:
        """Set every byte."""
        self._owner.ask({"do": "fill", "memory": self.number, "value": value})


class WorkerProgram:
    """A program in the worker."""

    def __init__(self, owner: Interpreter, number: int) -> None:
        self._owner = owner
        self.number = number

    def prepare(self) -> None:
        """Run what only depends on the state."""
        self._run("prepare")

    def step(self) -> None:
        """Run a step."""
        self._run("step")

    def timed(self) -> list[float]:
        """Run a step; the seconds of each launch."""
        return self._run("step")

    def repeated(self, times: int) -> float:
        """Run so many steps; the seconds of one."""
        return sum(sum(self._run("step")) for _ in range(times)) / times

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> bool:
        """The worker is asked for whole steps."""
        return False

    def _run(self, phase: str) -> list[float]:
        seconds: list[float] = self._owner.ask({"do": "run", "program": self.number, "phase": phase})[0]["seconds"]
        return seconds
