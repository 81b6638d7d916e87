"""The process of Triton's interpreter with the sanitizer in it; `python -m support.sanitizer.worker` is its command."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from netc.runtime.addresses import Address, Call
from netc.runtime.triton.interpreter.worker import Answer, Worker, call_of, serve
from netc.runtime.triton.run.launch import Launcher, functions_of

from . import hooks
from .sanitizer import Sanitizer
from .spans import Elements, virtual


class SanitizingWorker(Worker):
    """A worker whose programs can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: dict[int, tuple[str, dict[str, int], dict[str, list[list[Any]]]]] = {}
        self.sanitizers: dict[int, Sanitizer] = {}

    def do_missing(self) -> Answer:
        return {"missing": hooks.missing()}, []

    def do_load(self, program: int, source: str, memories: dict[str, int], calls: dict[str, list[list[Any]]]) -> None:
        super().do_load(program, source, memories, calls)
        self.loaded[program] = source, memories, calls

    def do_sanitize(self, program: int, phases: dict[str, list[list[list[Any]]]]) -> None:
        source, numbers, calls = self.loaded[program]
        functions = functions_of(source)
        spans = {phase: [[_span(plain) for plain in one] for one in calls] for phase, calls in phases.items()}
        memories = {name: self.regions[number].bytes for name, number in numbers.items()}
        self.sanitizers[program] = Sanitizer(spans, memories)
        self.programs[program] = {
            phase: [_apart(call_of(plain), functions) for plain in listed] for phase, listed in calls.items()
        }

    def do_findings(self, program: int) -> Answer:
        sanitizer = self.sanitizers[program]
        return {"found": sanitizer.taken(), "accesses": sanitizer.accesses, "traffic": sanitizer.traffic()}, []

    def do_drop(self, program: int) -> None:
        super().do_drop(program)
        del self.loaded[program]
        self.sanitizers.pop(program, None)

    def do_run(self, program: int, phase: str) -> Answer:
        sanitizer = self.sanitizers.get(program)
        if sanitizer is None:
            return super().do_run(program, phase)
        seconds = []
        for i, launcher in enumerate(self.programs[program][phase]):
            begin = time.perf_counter()
            with hooks.sanitized(sanitizer, phase, i):
                launcher()
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}, []


def _apart(call: Call, functions: Mapping[str, Any]) -> Launcher:
    """A launcher that tells the kernel another address space for each of its arguments, as `Sanitizer` wants it."""
    addresses = tuple(Address(str(k), 0, address.dtype) for k, address in enumerate(call.addresses))
    starts = {str(k): virtual(k) for k in range(len(addresses))}
    return Launcher(replace(call, addresses=addresses), functions, starts)


def _span(plain: list[Any]) -> Elements:
    """A span as JSON carries it."""
    buffer, root, memory, start, item, shape, strides, written = plain
    return Elements(buffer, root, memory, start, item, tuple(shape), tuple(strides), written)


if __name__ == "__main__":
    hooks.install()
    serve(SanitizingWorker())
