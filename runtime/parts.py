"""A program of several parts, with calls of Python functions between them: the engine that runs one after the other.

Values pass from part to part by name. A function may give its results in other sizes than the parts after it were made
for; then the program is made for these sizes, and the pass begins again, with what the functions gave already: none is
called twice. Only the last part writes state, so nothing has happened before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import HostCall, Program, Sizes, UserError

if TYPE_CHECKING:
    from .executable import Engine

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
SIZES = 8  # programs for other sizes that are held at a time


class PartsEngine:
    """A program with calls, which makes further programs for other sizes when it needs them. opened: runs a part."""

    def __init__(self, program: Program, opened: Callable[[Program], Engine]) -> None:
        self._program = program
        self._opened = opened
        self._first = self._now = _Parts(program, opened)
        self._others: dict[tuple[Any, ...], _Parts] = {}
        self._late: tuple[Callable[[], None], ...] = ()

    @property
    def where(self) -> str:
        """What runs it."""
        return self._first.where

    def run(self, feeds: Mapping[str, Array]) -> Arrays:
        """A pass. feeds: results of functions too, where these are not to be called."""
        known = {name: array for name, array in feeds.items() if name not in self._program.inputs}
        fed = {name: array for name, array in feeds.items() if name in self._program.inputs}
        # The sizes of the last pass are the best guess; each further try knows the results of more functions.
        while not self._now.run(fed, known):
            self._now = self._fitting(sizes_of(self._program, known))
        for call in self._late:
            call()
        return self.fetch()

    def timed(self, feeds: Mapping[str, Array]) -> list[float]:
        """A pass: the seconds of each launch, functions apart."""
        self._now = self._first
        seconds: list[float] = []
        if not self._now.run(feeds, {}, seconds):
            raise UserError(f"{self._program.name}: Python gave other sizes than it was made for, and is not timed")
        return seconds

    def seconds(self, feeds: Mapping[str, Array], times: int) -> float:
        """So many passes: the seconds of one, functions included."""
        return seconds_of_one(lambda: self.run(feeds), times)

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> None:
        """Make these calls behind the last part, which alone writes state."""
        self._late = tuple(calls.values())

    def memory(self, name: str) -> Any:
        """Where the last part has a buffer of state."""
        return next(part[1] for part in reversed(self._now.parts) if not isinstance(part, HostCall)).memory(name)

    def spoil(self) -> None:
        """As of an engine, of each part."""
        for part in (self._first, *self._others.values()):
            part.spoil()

    def fed(self) -> Arrays:
        """What the last pass was fed, and what functions gave in it."""
        return {**self._now.fed, **self._now.made}

    def fetch(self) -> Arrays:
        """The outputs of the last pass, as copies."""
        return {name: self._now.values[name].copy() for name in self._program.outputs}

    def _fitting(self, sizes: Sizes) -> _Parts:
        """The program for sizes, made if it is not there; of many those stay that were used last."""
        key = tuple(sorted(sizes.items()))
        found = self._others.pop(key, None)
        if found is None:
            if self._program.resized is None:
                raise UserError(f"{self._program.name}: Python gave other sizes than it was made for")
            found = _Parts(self._program.resized(sizes), self._opened)
        self._others[key] = found
        while len(self._others) > SIZES:
            self._others.pop(next(iter(self._others)))
        return found


def seconds_of_one(call: Callable[[], object], times: int) -> float:
    """Make a call so many times: the seconds of one."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def sizes_of(program: Program, made: Mapping[str, Array]) -> Sizes:
    """The sizes of what functions gave, by layer."""
    calls = [part for part in program.parts if isinstance(part, HostCall) and part.free]
    return {call.name: tuple(made[k].shape for k in call.results) for call in calls if made.keys() >= set(call.results)}


class _Parts:
    """The parts for certain sizes, loaded."""

    def __init__(self, program: Program, opened: Callable[[Program], Engine]) -> None:
        self.program = program
        self.parts: list[tuple[Program, Engine] | HostCall] = [
            part if isinstance(part, HostCall) else (part, opened(part)) for part in program.parts
        ]
        self.fed: Arrays = {}
        self.made: Arrays = {}
        self.values: Arrays = {}

    @property
    def where(self) -> str:
        """What runs the parts."""
        return next(part[1].where for part in self.parts if not isinstance(part, HostCall))

    def spoil(self) -> None:
        """As of an engine."""
        for part in self.parts:
            if not isinstance(part, HostCall):
                part[1].spoil()

    def run(self, feeds: Mapping[str, Array], known: Arrays, seconds: list[float] | None = None) -> bool:
        """A pass; False where functions gave other sizes. known: results by name, to which others are added."""
        self.fed = {k: np.array(feeds[k], type_.numpy_dtype) for k, type_ in self.program.inputs.items()}
        values: Arrays = dict(self.fed)
        fits = True
        for part in self.parts:
            if isinstance(part, HostCall):
                if any(name not in known for name in part.results):
                    known |= _called(part, [values[name] for name in part.operands])
                values |= {name: known[name] for name in part.results}
                fits = fits and all(known[k].shape == tuple(type_.shape) for k, type_ in part.results.items())
                continue
            if not fits:  # after all calls that stand side by side, whose sizes may have to go together
                return False
            program, engine = part
            read = {name: values[name] for name in program.inputs}
            if seconds is None:
                values |= engine.run(read)
            else:
                seconds += engine.timed(read)
                values |= engine.fetch()
        self.made = {name: values[name] for part in self.parts if isinstance(part, HostCall) for name in part.results}
        self.values = values
        return True


def _called(call: HostCall, operands: list[Array]) -> Arrays:
    """What a function gives, copied, since it may use its arrays again; it may not write its operands."""
    shown = [operand.view() for operand in operands]
    for view in shown:
        view.flags.writeable = False
    found = call.function(*shown)
    if len(found) != len(call.results):
        raise UserError(f"the Python layer `{call.name}` gave {len(found)} results, it has {len(call.results)}")
    made: Arrays = {}
    for (name, type_), value in zip(call.results.items(), found, strict=True):
        array = np.asarray(value)
        if not np.can_cast(array.dtype, type_.numpy_dtype, "same_kind"):
            raise UserError(f"the Python layer `{call.name}` gave {array.dtype}, its result is {type_}")
        if not call.free and array.shape != tuple(type_.shape):
            shape = list(array.shape)
            raise UserError(f"`backward` of the Python layer `{call.name}` gave {shape}, the operand is {type_}")
        if not array.size:
            raise UserError(
                f"the Python layer `{call.name}` gave {list(array.shape)}: nothing is computed of no values"
            )
        made[name] = np.array(array, type_.numpy_dtype, order="C")
    return made
