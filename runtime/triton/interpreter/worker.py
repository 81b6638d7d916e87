"""The worker process in which Triton interprets kernels, started by `process`.

`python -m netc.runtime.triton.interpreter.worker` is its command.

Triton decides when it is imported whether it interprets, so TRITON_INTERPRET=1 is in the environment from the start.
Requests come on standard input and are answered on standard output, one after the other, until the input ends. The
memory has margins of a known pattern, so that a kernel that writes beside it is found out.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...addresses import Address, Call
from ..run.launch import Launcher, functions_of
from . import bfloat
from .messages import Ended, receive, send

Array = npt.NDArray[Any]
MARGIN = 4096  # bytes on either side
PATTERN = 0xA5
ALIGNMENT = 64

Answer = tuple[dict[str, Any], list[Array]]


class GuardedBytes:
    """Some bytes between two margins, beginning at a multiple of 64."""

    def __init__(self, size: int) -> None:
        self._whole = np.full(size + 2 * MARGIN + ALIGNMENT, PATTERN, np.uint8)
        start = MARGIN + -(self._whole.ctypes.data + MARGIN) % ALIGNMENT
        self.bytes = self._whole[start : start + size]
        self.bytes[...] = 0
        self._margins = self._whole[:start], self._whole[start + size :]

    @property
    def intact(self) -> bool:
        """Whether nothing was written beside it."""
        return all(bool((margin == PATTERN).all()) for margin in self._margins)


class Worker:
    """What the requests act on: memory and programs by number, of these the launches of each phase."""

    def __init__(self) -> None:
        self.regions: dict[int, GuardedBytes] = {}
        self.programs: dict[int, dict[str, list[Launcher]]] = {}

    def answer(self, request: dict[str, Any], blobs: list[Array]) -> Answer:
        operation: Callable[..., Answer | None] = getattr(self, f"do_{request.pop('do')}")
        return operation(*blobs, **request) or ({}, [])

    def do_allocate(self, memory: int, size: int) -> None:
        self.regions[memory] = GuardedBytes(size)

    def do_free(self, memory: int) -> None:
        del self.regions[memory]

    def do_write(self, data: Array, memory: int) -> None:
        self.regions[memory].bytes[...] = data

    def do_fill(self, memory: int, value: int) -> None:
        self.regions[memory].bytes[...] = value

    def do_copy(self, source: int, to: int) -> None:
        self.regions[to].bytes[...] = self.regions[source].bytes

    def do_read(self, parts: list[tuple[int, int, int]]) -> Answer:
        return {}, [self.regions[memory].bytes[start : start + size] for memory, start, size in parts]

    def do_damaged(self) -> Answer:
        return {"damaged": [number for number, region in self.regions.items() if not region.intact]}, []

    def do_held(self) -> Answer:
        return {"memories": len(self.regions), "programs": len(self.programs)}, []

    def do_load(self, program: int, source: str, memories: dict[str, int], calls: dict[str, list[list[Any]]]) -> None:
        functions = functions_of(source)
        starts = {name: self.regions[number].bytes.ctypes.data for name, number in memories.items()}
        self.programs[program] = {
            phase: [Launcher(call_of(plain), functions, starts) for plain in listed] for phase, listed in calls.items()
        }

    def do_drop(self, program: int) -> None:
        del self.programs[program]

    def do_run(self, program: int, phase: str) -> Answer:
        seconds = []
        for launcher in self.programs[program][phase]:
            begin = time.perf_counter()
            launcher()
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}, []


def call_of(plain: list[Any]) -> Call:
    """A call as JSON carries it."""
    function, addresses, grid, constants, warps, stages = plain
    return Call(
        function,
        tuple(Address(*address) for address in addresses),
        tuple(grid),
        tuple((name, value) for name, value in constants),
        warps,
        stages,
    )


def end_with(parent: int) -> None:
    """End this process when the one that started it is gone, whatever a kernel is doing."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def serve(worker: Worker) -> None:
    """Answer requests until there are no more."""
    # Ctrl-C and what ends a group of processes are for the one that started this; it may finish its step first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    # What a kernel prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import triton

    bfloat.correct()
    send(answers, {"triton": triton.__version__})
    with np.errstate(all="ignore"):
        while True:
            try:
                request, blobs = receive(requests)
            except Ended:
                return
            try:
                message, found = worker.answer(request, blobs)
            except Exception:
                message, found = {"error": traceback.format_exc()}, []
            send(answers, message, found)


if __name__ == "__main__":
    serve(Worker())
    sys.stdout.flush()
