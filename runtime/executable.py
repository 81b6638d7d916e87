"""A compiled program, loaded: feeds are checked, an engine runs it, and a call that returns has committed its updates.

The engine of the numpy target is here: the module is run from its text, its arrays are bound once, and a call fills
them. It relies on the module's `bind(inputs, state, pool)`, and reads and writes the state's buffers in place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from ..compiler.codegen.target import TARGETS, imported
from ..compiler.kinds import table, whole
from ..compiler.program import BOUND, HostCall, Launch, Program, Sizes, UserError
from .binding import Given, arrays_for, check_state
from .module import load_module
from .parts import PartsEngine, seconds_of_one
from .pool import pool_of
from .sharing import Turn
from .state import State
from .value_ranges import check_flags, check_ranges

Array = npt.NDArray[Any]
Calls = Sequence[Callable[[], Any]]
# Inputs and state by name -> the outputs, the calls to make when the state was set, and those of a step.
Bind = Callable[[Mapping[str, Array], Mapping[str, Array]], tuple[dict[str, Array], Calls, Calls]]


class Engine(Protocol):
    """What runs a program. Feeds are complete and have the right shapes."""

    def run(self, feeds: Mapping[str, Array], /) -> dict[str, Array]: ...

    def timed(self, feeds: Mapping[str, Array], /) -> list[float]: ...

    def seconds(self, feeds: Mapping[str, Array], times: int, /) -> float: ...

    def spoil(self) -> None: ...

    def interleave(self, calls: Mapping[int, Callable[[], None]], /) -> None: ...

    def memory(self, name: str, /) -> Any: ...

    def fed(self) -> dict[str, Array]: ...

    def fetch(self) -> dict[str, Array]: ...

    @property
    def where(self) -> str: ...


class Executable:
    """A program on a state. `executable(image=x)` runs it and returns its outputs, which are the caller's to keep.

    state: holds every buffer that the program reads; several executables may share one. device: `cpu` or `cuda`; a
    program of the triton target runs on the CPU in Triton's interpreter, slowly. Threads may call it at the same time:
    it serves one after the other, and a program that writes the state waits for those that read it. To compute side by
    side each thread takes a `clone`. Raises UserError for feeds that do not fit, and for a device that is not there.
    """

    def __init__(self, program: Program, state: State, device: str = "cpu") -> None:
        self._state = state
        self.device = device
        self._turn = Turn()
        self._given: Given = ({}, {})
        self._between: Mapping[int, Callable[[], None]] = {}
        self.use(program)

    @property
    def state(self) -> State:
        """The state that the program reads and writes."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        """Take another program's state, and share it with its version; UserError where it does not fit."""
        with self._turn:
            self._adopt(state)

    def _adopt(self, state: State) -> None:
        check_state(self.program, self._state, state)
        self._state = state
        self.use(self.program)

    def bind(self, inputs: Mapping[str, Array] | None = None, outputs: Mapping[str, Array] | None = None) -> None:
        """Read inputs from arrays of the caller, and write outputs into some, from the next run on; others are let go.

        Bound inputs are no longer fed; what a run returns for a bound output is the array itself. On the numpy target
        nothing is copied. Elsewhere, and around layers in Python, arrays are copied in and out at each run. Arrays are
        row-major, of the types that the program has. UserError for others.
        """
        inputs, outputs = (
            {} if given is None else table(name, given) for name, given in (("inputs", inputs), ("outputs", outputs))
        )
        given = arrays_for(self.program, inputs, outputs)
        with self._turn:
            self._given = given
            self._rebind()

    def _rebind(self) -> None:
        """Load the program for the arrays that are given."""
        self.use(self.program)

    def use(self, program: Program) -> None:
        """Take another program on the same state."""
        for name, type_ in program.state.items():
            held = self.state.buffers.get(name)
            if held is None or held.shape != tuple(type_.shape) or held.dtype != type_.numpy_dtype:
                raise ValueError(f"the program {program.name} reads {name} as {type_}, the state does not hold that")
        self.program = program
        self._engine = engine_of(program, self.state, self.device)
        if isinstance(self._engine, ArrayEngine) and any(self._given):
            self._engine.bind(*self._given)
        if self._between:
            self._engine.interleave(self._between)

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> None:
        """Make these calls in each run, each behind the launch of its number, or later. On a GPU they are recorded."""
        with self._turn:
            self._between = calls
            self._engine.interleave(calls)

    def memory(self, name: str) -> Any:
        """A buffer of state where the engine has it: an array, or on a GPU torch's tensor of its bytes."""
        return self._engine.memory(name)

    def clone(self) -> Self:
        """The same program on the same state with memory of its own, for another thread."""
        other = copy(self)
        other._turn, other._given = Turn(), ({}, {})
        other.use(self.program)
        return other

    @contextmanager
    def _using(self) -> Iterator[None]:
        """The context of a call: nobody else uses this memory, or the state in a way that does not go with it."""
        held = self.state.sharing.writing() if self.program.updates else self.state.sharing.reading()
        with self._turn, held:
            yield

    def __call__(self, /, **feeds: npt.ArrayLike) -> dict[str, Array]:
        """Run the program on arrays given by name."""
        return self.run(feeds)

    def run(self, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Run the program: the outputs by name, as copies; the state holds the updates."""
        arrays = self._checked(feeds)
        with self._using():
            self._begin()
            return self._end(self._engine.run(arrays))

    def fed(self) -> dict[str, Array]:
        """What it was last fed, as it computed with it: to read before the next run."""
        return self._engine.fed()

    def outputs(self) -> dict[str, Array]:
        """The outputs of the last run once more, as copies."""
        found = self._engine.fetch()
        return {name: found[name] for name in self.program.returned}

    @property
    def sizes(self) -> Sizes:
        """What Python layers gave in the last run, by layer, where that is of other sizes than the program says."""
        calls = [call for call in self.program.parts if isinstance(call, HostCall) and call.free]
        made = self.fed() if calls else {}
        found = {
            call.name: tuple(made[k].shape for k in call.results) for call in calls if made.keys() >= {*call.results}
        }
        said = {call.name: tuple(tuple(map(int, t.shape)) for t in call.results.values()) for call in calls}
        return {} if all(said[name] == sizes for name, sizes in found.items()) else found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The context of a caller who has this executable and its state to himself, and uses `run_alone` of others."""
        with self._turn, self.state.sharing.writing():
            yield

    def run_alone(self, feeds: Mapping[str, npt.ArrayLike], made: Mapping[str, Array]) -> dict[str, Array]:
        """Run it for a caller who has the state to himself. made: what Python layers gave, so not called."""
        calls = [call for call in self.program.parts if isinstance(call, HostCall)]
        known = {name: made[name] for call in calls for name in call.results if name in made}
        return self._engine.run({**self._checked(feeds), **known})

    def timed(self, feeds: Mapping[str, npt.ArrayLike]) -> list[tuple[Launch, float]]:
        """Run the program once: each launch of the step with its seconds."""
        launches = [launch for launch in self.program.launches if launch.phase == "step"]
        arrays = self._checked(feeds)
        with self._using():
            self._begin()
            return list(zip(launches, self._engine.timed(arrays), strict=True))

    def seconds(self, feeds: Mapping[str, npt.ArrayLike], times: int = 1) -> float:
        """Run the program so many times on the same feeds: the seconds of one run.

        On a GPU the feeds are there already and the outputs stay there; on the CPU their copies count. A GPU's first
        run of all, which its host launches kernel by kernel, is run but counts only where it is the only one.
        """
        arrays, times = self._checked(feeds), whole("times", times, 1)
        with self._using():
            self._begin(times)
            return self._engine.seconds(arrays, times)

    def twice(self, feeds: Mapping[str, npt.ArrayLike]) -> tuple[dict[str, Array], list[str]]:
        """Run the program, and again from the state that it had: the first outputs, and what has other bits then.

        What the first run left in memory is spoiled before the second, which is a replay where a device replays; so
        what a replay leaves out differs. Names are those of outputs and of buffers of state, which has one run's
        updates afterwards.
        """
        buffers = self.state.buffers
        before = {name: buffers[name].copy() for name in self.program.updates}
        runs = []
        for again in (False, True):
            for name, value in before.items() if again else ():
                np.copyto(buffers[name], value)
            self.state.touch()
            self._engine.spoil()
            outputs = self.run(feeds)
            runs.append((outputs, {name: buffers[name].copy() for name in before}))
        (first, updates), (second, others) = runs
        pairs = [*((name, a, second[name]) for name, a in first.items())]
        pairs += [(name, a, others[name]) for name, a in updates.items()]
        return first, [name for name, a, b in pairs if a.tobytes() != b.tobytes()]

    @property
    def where(self) -> str:
        """What runs it: the device, with versions that decide the bits of results."""
        return self._engine.where

    def load(self, path: str | Path | Sequence[str | Path]) -> None:
        """Read the state from weight files, as `State.load` does."""
        self.state.load(path)

    def save(self, path: str | Path) -> None:
        """Write the state to a weight file, as `State.save` does."""
        self.state.save(path)

    def _begin(self, times: int = 1) -> None:
        """So many runs come now: whoever wants the state as it is before them is told."""
        self.state.writing(self.program.updates)

    def _end(self, outputs: dict[str, Array]) -> dict[str, Array]:
        """What a run returns of the program's outputs; UserError where it met numbers that it cannot know."""
        check_flags(self.program.ranges, outputs, self.program.name)
        for name, array in self._given[1].items():
            if outputs[name] is not array:
                np.copyto(array, outputs[name])
                outputs[name] = array
        for name in self.program.bound:
            if name not in self._given[1]:  # of a clone the arrays are its own, and the next run writes them again
                outputs[name] = outputs[name].copy()
        return outputs

    def _checked(self, feeds: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        feeds, given = table("feeds", feeds), self._given[0]
        inputs = {name: type_ for name, type_ in self.program.inputs.items() if name not in given}
        if twice := [name for name in feeds if name in given]:
            raise UserError(
                f"{self.program.name}: {', '.join(twice)} is bound to an array; write into that, or let it go"
            )
        if feeds.keys() != inputs.keys():
            missing = [name for name in inputs if name not in feeds]
            extra = [name for name in feeds if name not in inputs]
            told = [f"missing: {', '.join(missing)}"] if missing else []
            told += [f"unknown: {', '.join(extra)}"] if extra else []
            wanted = ", ".join(f"{name}: {type_}" for name, type_ in inputs.items()) or "nothing"
            raise UserError(f"{self.program.name} is fed {wanted} ({'; '.join(told)})")
        arrays = {}
        for name, type_ in inputs.items():
            try:
                array = np.asarray(feeds[name])
            except ValueError:
                raise UserError(f"{name} is given as lists of several lengths, the program takes {type_}") from None
            if array.shape != tuple(type_.shape):
                raise UserError(f"{name} has the shape ({', '.join(map(str, array.shape))}), the program takes {type_}")
            if not np.can_cast(array.dtype, type_.numpy_dtype, "same_kind"):
                raise UserError(f"{name} holds {array.dtype}, the program takes {type_}")
            arrays[name] = array
        arrays = {**arrays, **given}
        check_ranges(self.program.ranges, arrays, self.program.name)
        return arrays


def engine_of(program: Program, state: State, device: str) -> Engine:
    """What runs a program of its target on a device; UserError where nothing does."""
    if program.parts:
        return PartsEngine(program, lambda part: engine_of(part, state, device))
    target = TARGETS[program.target]
    target.way(device)
    engine: Engine = imported(target.engine)(program, state, device)
    return engine


class ArrayEngine:
    """A program of the numpy target."""

    def __init__(self, program: Program, state: State, device: str = "cpu") -> None:
        self.where = device
        self._program = program
        self._state = state
        self._inputs: dict[str, Array] = {
            name: np.zeros(tuple(map(int, type_.shape)), type_.numpy_dtype) for name, type_ in program.inputs.items()
        }
        self._between: Mapping[int, Callable[[], None]] = {}
        self._bound_to, self._threads = self._open()
        types = program.outputs
        self.bind({}, {k: np.zeros(tuple(map(int, types[k].shape)), types[k].numpy_dtype) for k in program.bound})

    def _open(self) -> tuple[Bind, Callable[[], AbstractContextManager[None]]]:
        """What binds the program to arrays, and the context in which its calls run."""
        bind, pool = load_module(self._program)["bind"], pool_of(self._program.threads)
        shared = pool if self._program.threads > 1 else None
        return lambda inputs, state: bind(inputs, state, shared), pool.running

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """Use these arrays for inputs, and for those outputs that the program writes in place."""
        self._inputs |= inputs
        self._written = {name: outputs[name] for name in self._program.bound}
        state = {name: self._state.buffers[name] for name in self._program.state}
        state |= {BOUND + name: array for name, array in self._written.items()}
        self._outputs, self.prepare, self._step = self._bound_to(self._inputs, state)
        self._prepared: int | None = None
        self.interleave(self._between)

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> None:
        """Make these calls too, each behind the launch of its number."""
        self._between = calls
        self._calls = [one for k, call in enumerate(self._step) for one in (call, calls.get(k)) if one is not None]

    def memory(self, name: str) -> Array:
        """A buffer of state."""
        return self._state.buffers[name]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """A step: the outputs by name, as copies."""
        self._feed(feeds)
        with self._threads():
            self._remake()
            for call in self._calls:
                call()
        self._committed()
        return self.fetch()

    def timed(self, feeds: Mapping[str, Array]) -> list[float]:
        """A step: the seconds of each launch."""
        self._feed(feeds)
        found = []
        with self._threads():
            self._remake()
            for call in self._step:
                start = time.perf_counter()
                call()
                found.append(time.perf_counter() - start)
        self._committed()
        return found

    def seconds(self, feeds: Mapping[str, Array], times: int) -> float:
        """So many steps: the seconds of one."""
        return seconds_of_one(lambda: self.run(feeds), times)

    def spoil(self) -> None:
        """Have what only depends on the state made anew; every step computes the rest by its text."""
        self._prepared = None

    def _remake(self) -> None:
        """Run what only depends on the state, if that was written since."""
        if self.prepare and self._prepared != (version := self._state.version):
            for call in self.prepare:
                call()
            self._prepared = version

    def _committed(self) -> None:
        """Tell other programs on the state that it was written; what this one prepared does not depend on that."""
        if self._program.updates:
            self._state.touch()
            self._prepared = self._state.version

    def _feed(self, feeds: Mapping[str, Array]) -> None:
        self._state.refresh()
        for name, array in feeds.items():
            if array is not self._inputs[name]:
                np.copyto(self._inputs[name], array, casting="same_kind")

    def fed(self) -> dict[str, Array]:
        """The arrays that feeds were copied to."""
        return self._inputs

    def fetch(self) -> dict[str, Array]:
        """The outputs by name, as copies; but those arrays that are the caller's."""
        types = self._program.outputs
        own = {k: np.array(x, types[k].numpy_dtype, order="C", copy=True) for k, x in self._outputs.items()}
        return {name: self._written[name] if name in self._written else own[name] for name in types}
