"""Running a program of the triton target in Triton's interpreter, with everything checked that can be.

One worker process serves all tests of a process. The arena begins as NaN, so what is read before it was written shows;
writes beside a memory are errors; so are writes to what a program only reads. Every access is watched: races, accesses
beside a buffer and reads of what nobody wrote are errors as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.compiler.program import Program, StateInfo
from netc.runtime.state import State
from netc.runtime.triton.interpreter.process import Interpreter
from netc.runtime.triton.run.engine import DeviceEngine
from netc.runtime.triton.run.mirror import mirror_of
from netc.runtime.triton.run.opening import open_interpreter

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]


def interpreter() -> Interpreter:
    """The worker of this process. A request that takes minutes is a kernel that does not end."""
    return open_interpreter(timeout=300)


def state_of(program: Program, values: Mapping[str, npt.ArrayLike]) -> State:
    """A state with these values; what is not given is 0."""
    state = State([StateInfo(name, type_, "statistic", buffer=name) for name, type_ in program.state.items()])
    for name, value in values.items():
        np.copyto(state.buffers[name], np.asarray(value))
    state.touch()
    return state


def engine_on(program: Program, state: State, *, watched: bool = True) -> DeviceEngine:
    """A program in the interpreter, checked."""
    return DeviceEngine(program, state, interpreter(), mirror_of(state, interpreter()), checked=True, watched=watched)


def run_interpreted(
    program: Program,
    feeds: Mapping[str, npt.ArrayLike],
    state: Mapping[str, npt.ArrayLike] | None = None,
    *,
    watched: bool = True,
) -> tuple[Arrays, Arrays]:
    """The outputs, and the buffers of state that the program updates, after one step.

    feeds: arrays in the types that users see (bf16 as float32). state: by the names of the buffers; 0 where not given.
    """
    held = state_of(program, state or {})
    engine = engine_on(program, held, watched=watched)
    outputs = engine.run({name: np.asarray(array) for name, array in feeds.items()})
    faults = engine.faults()
    assert not faults, "\n".join(map(str, faults))
    return outputs, {name: held.buffers[name].copy() for name in program.updates}
