"""A compiled program, loaded: its module is run from its text, its arrays are bound once, and a call fills them.

Relies on the generated module's `bind(inputs, state, pool)`. The program reads and writes the state's buffers in place,
so a call that returns has committed its updates.
"""

from __future__ import annotations

import hashlib
import linecache
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import Launch, Program, UserError
from .pool import pool_of
from .state import State

Array = npt.NDArray[Any]
Calls = Sequence[Callable[[], Any]]


def load_module(program: Program) -> dict[str, Any]:
    """The names that a program's text defines. Tracebacks show its lines."""
    digest = hashlib.sha256(program.source.encode()).hexdigest()[:12]
    name = f"<netc {program.name} {program.mode} {digest}>"
    linecache.cache[name] = (len(program.source), None, program.source.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": f"netc_program_{digest}"}
    exec(compile(program.source, name, "exec"), names)
    return names


class Executable:
    """A program on a state. `executable(image=x)` runs it and returns its outputs, which are the caller's to keep.

    state: holds every buffer that the program reads; several executables may share one. Calls from several threads at
    once are not allowed. Raises UserError for feeds that do not fit.
    """

    def __init__(self, program: Program, state: State, device: str = "cpu") -> None:
        if program.target != "numpy" or device != "cpu":
            raise UserError(f"target {program.target} does not run on device {device}")
        self.program = program
        self.state = state
        self.device = device
        for name, type_ in program.state.items():
            held = state.buffers.get(name)
            if held is None or held.shape != tuple(type_.shape) or held.dtype != type_.numpy_dtype:
                raise ValueError(f"the program {program.name} reads {name} as {type_}, the state does not hold that")
        self._inputs: dict[str, Array] = {
            name: np.zeros(tuple(map(int, type_.shape)), type_.numpy_dtype) for name, type_ in program.inputs.items()
        }
        self._pool = pool_of(program.threads)
        shared = self._pool if program.threads > 1 else None
        outputs, prepare, step = load_module(program)["bind"](self._inputs, state.buffers, shared)
        self._outputs: dict[str, Array] = outputs
        self._prepare: Calls = prepare
        self._step: Calls = step
        self._prepared: int | None = None

    def __call__(self, /, **feeds: npt.ArrayLike) -> dict[str, Array]:
        """Run the program on arrays given by name."""
        return self.run(feeds)

    def run(self, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Run the program: the outputs by name, as copies; the state holds the updates."""
        self._feed(feeds)
        with self._pool.running():
            self._remake()
            for call in self._step:
                call()
        self._committed()
        return self._fetch()

    def timed(self, feeds: Mapping[str, npt.ArrayLike]) -> list[tuple[Launch, float]]:
        """Run the program once: each launch of the step with its seconds."""
        self._feed(feeds)
        launches = [launch for launch in self.program.launches if launch.phase == "step"]
        found = []
        with self._pool.running():
            self._remake()
            for launch, call in zip(launches, self._step, strict=True):
                start = time.perf_counter()
                call()
                found.append((launch, time.perf_counter() - start))
        self._committed()
        return found

    def load(self, path: str | Path | Sequence[str | Path]) -> None:
        """Read the state from safetensors files."""
        self.state.load(path)

    def save(self, path: str | Path) -> None:
        """Write the state to a safetensors file."""
        self.state.save(path)

    def _remake(self) -> None:
        """Run what only depends on the state, if that was written since."""
        if self._prepare and self._prepared != (version := self.state.version):
            for call in self._prepare:
                call()
            self._prepared = version

    def _committed(self) -> None:
        """Tell other programs on the state that it was written; what this one prepared does not depend on that."""
        if self.program.updates:
            self.state.touch()
            self._prepared = self.state.version

    def _feed(self, feeds: Mapping[str, npt.ArrayLike]) -> None:
        if feeds.keys() != self._inputs.keys():
            missing = [name for name in self._inputs if name not in feeds]
            extra = [name for name in feeds if name not in self._inputs]
            told = [f"missing: {', '.join(missing)}"] if missing else []
            told += [f"unknown: {', '.join(extra)}"] if extra else []
            wanted = ", ".join(f"{name}: {type_}" for name, type_ in self.program.inputs.items()) or "nothing"
            raise UserError(f"{self.program.name} is fed {wanted} ({'; '.join(told)})")
        arrays = {}
        for name, held in self._inputs.items():
            array = np.asarray(feeds[name])
            type_ = self.program.inputs[name]
            if array.shape != held.shape:
                raise UserError(f"{name} has the shape {_shape(array.shape)}, the program takes {type_}")
            if not np.can_cast(array.dtype, held.dtype, "same_kind"):
                raise UserError(f"{name} holds {array.dtype}, the program takes {type_}")
            arrays[name] = array
        for name, array in arrays.items():
            np.copyto(self._inputs[name], array, casting="same_kind")

    def _fetch(self) -> dict[str, Array]:
        types = self.program.outputs
        return {
            name: np.array(array, types[name].numpy_dtype, order="C", copy=True)
            for name, array in self._outputs.items()
        }


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"
