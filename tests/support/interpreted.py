"""Running a program of the triton target in Triton's interpreter, with everything checked that can be.

One worker process serves all tests of a process. The arena begins as NaN, so what is read before it was written shows;
writes beside a memory are errors; so are writes to what a program only reads. Every access is looked at by the
sanitizer: races, and accesses beside a buffer, are errors as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.compiler.program import Program, StateInfo
from netc.runtime.state import State
from netc.runtime.triton.run.engine import DeviceEngine
from netc.runtime.triton.run.state_copy import copy_on
from support.sanitizer.engine import SanitizedEngine, SanitizingInterpreter

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


_interpreters: list[SanitizingInterpreter] = []


def interpreter() -> SanitizingInterpreter:
    """The worker of this process. A request that takes minutes is a kernel that does not end."""
    if not _interpreters or not _interpreters[-1].alive:
        _interpreters[:] = [SanitizingInterpreter(timeout=300)]
    return _interpreters[-1]


def state_of(program: Program, values: Mapping[str, npt.ArrayLike]) -> State:
    """A state with these values; what is not given is 0."""
    state = State([StateInfo(name, type_, "statistic", buffer=name) for name, type_ in program.state.items()])
    for name, value in values.items():
        np.copyto(state.buffers[name], np.asarray(value))
    state.touch()
    return state


def engine_on(program: Program, state: State) -> SanitizedEngine:
    """A program in the interpreter, checked and looked at."""
    return SanitizedEngine(program, state, interpreter())


def unsanitized(program: Program, state: State) -> DeviceEngine:
    """The same, checked only."""
    return DeviceEngine(program, state, interpreter(), copy_on(state, interpreter()), checked=True)


def run_interpreted(
    program: Program,
    feeds: Mapping[str, npt.ArrayLike],
    state: Mapping[str, npt.ArrayLike] | None = None,
    *,
    sanitized: bool = True,
) -> tuple[Arrays, Arrays]:
    """The outputs, and the buffers of state that the program updates, after one step.

    feeds: arrays in the types that users see (bf16 as float32). state: by the names of the buffers; 0 where not given.
    """
    held = state_of(program, state or {})
    engine = engine_on(program, held) if sanitized else unsanitized(program, held)
    outputs = engine.run({name: np.asarray(array) for name, array in feeds.items()})
    faults = engine.faults() if isinstance(engine, SanitizedEngine) else []
    assert not faults, "\n".join(map(str, faults))
    return outputs, {name: held.buffers[name].copy() for name in program.updates}
