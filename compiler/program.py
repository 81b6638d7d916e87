"""A compiled program as plain data, and the state it reads: with `spec.py` all that the runtime sees of the compiler.

Everything here is hashable, printable, serializable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from ..grammar.source import Absent, SourceError, SourceErrors, Span, UserError, path_of, placed, printable, shown
from .spec import Filler
from .types import Literal as Constant
from .types import TensorType

__all__ = [
    "BOUND",
    "Absent",
    "Argument",
    "Buffer",
    "Commit",
    "Constant",
    "Decision",
    "Function",
    "HostCall",
    "Launch",
    "Program",
    "Proofs",
    "Sizes",
    "SourceError",
    "SourceErrors",
    "Span",
    "StateInfo",
    "TensorType",
    "UserError",
    "ValueRange",
    "joined",
    "path_of",
    "placed",
    "printable",
    "share_of",
    "shown",
]


@dataclass(frozen=True)
class StateInfo:
    """One tensor of state under its logical name.

    kind: parameter (learned), statistic (running), history (of the solver), counter, carried (what one pass leaves to
    the next), gradient (what batches leave to their update: nothing between steps). It lies in `buffer` (the name of a
    flat buffer shared with others, or its own name) from element `offset` on, row-major. lr and decay are the
    multipliers of a parameter; lr 0 freezes it. place is "file:line" of the layer that owns it.
    """

    name: str
    type: TensorType
    kind: Literal["parameter", "statistic", "history", "counter", "carried", "gradient"] = "parameter"
    filler: Filler = field(default_factory=lambda: Filler("constant", (("value", 0.0),)))
    lr: float = 1.0
    decay: float = 1.0
    layer: str = ""
    place: str = ""
    buffer: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Buffer:
    """A place in memory: in the arena at a byte offset, or outside of it (input, state, output).

    `order` lists the logical axes from outermost to innermost, so (1, 0, 2, 3) is C,N,H,W. base is the input, state or
    constant of which it is a part, from the byte `offset` on; empty where the name itself is that. stored is the
    element type in memory where it is narrower than the value's. strides: elements from one index to the next on each
    axis, of a part that does not lie in one piece; else empty.
    """

    name: str
    type: TensorType
    space: Literal["arena", "input", "state", "output", "constant", "prepared"]
    offset: int = 0
    order: tuple[int, ...] = ()
    base: str = ""
    stored: str = ""
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Argument:
    """A pointer that a GPU kernel takes: its name in the text, the element type in memory, and what is known of it.

    aligned: its address is a multiple of 16 bytes at every launch. written: the kernel stores through it.
    """

    name: str
    dtype: str
    aligned: bool = True
    written: bool = False


@dataclass(frozen=True)
class Function:
    """A kernel as text: kind, source and a hash that names it by what it does.

    arguments: of a kernel that takes pointers. constants (the values of its `tl.constexpr` parameters), warps and
    stages: of one for GPUs.
    """

    name: str
    kind: str
    source: str
    key: str
    arguments: tuple[Argument, ...] = ()
    constants: tuple[tuple[str, int], ...] = ()
    warps: int = 0
    stages: int = 0


@dataclass(frozen=True)
class Launch:
    """A function bound to buffers, with the layers and `.net` places that it came from and what it costs.

    grid: how many programs of a GPU kernel run, along its axes. kernel: names what it computes (`Blocks.key`).
    """

    function: str
    arguments: tuple[str, ...]
    layers: tuple[str, ...]
    places: tuple[str, ...]
    flops: int
    bytes: int
    phase: Literal["prepare", "step"] = "step"
    grid: tuple[int, ...] = ()
    kernel: str = ""


@dataclass(frozen=True)
class Decision:
    """A line of the fusion ledger: an edge between two nodes, fused or not, the law or the reason, the bytes saved."""

    producer: str
    consumer: str
    layers: tuple[str, ...]
    fused: bool
    reason: str
    bytes_saved: int


@dataclass(frozen=True)
class Proofs:
    """What was proved when a program was written.

    reads: of values by launches, in order with what is written over them. loads, stores: of kernels, in bounds, and the
    stores disjoint and complete; none where a target's kernels are not written by the evaluator. shared: kernels of
    which threads share out a loop, no two writing one element, and which end when all are done.
    """

    reads: int = 0
    loads: int = 0
    stores: int = 0
    shared: int = 0


@dataclass(frozen=True)
class HostCall:
    """A Python function between two parts of a program: arrays in, arrays out, by the names that the parts have.

    results: in the sizes for which the parts after it are made. free: it may give other sizes.
    """

    name: str
    function: Callable[..., tuple[Any, ...]]
    operands: tuple[str, ...]
    results: Mapping[str, TensorType]
    free: bool = True


@dataclass(frozen=True)
class ValueRange:
    """The input `input` numbers `count` classes or rows (`what`) from 0, for the layer `reader`; `ignored` may stand
    for none. flag: of numbers that the program computes, the output that is below 0 where none is beyond."""

    input: str
    count: int
    ignored: int | None
    what: str
    reader: str
    flag: str = ""


@dataclass(frozen=True)
class Commit:
    """The elements [start, stop) of a buffer of state have their next values after the `launch`-th launch of a step."""

    launch: int
    state: str
    start: int
    stop: int


BOUND = ".out."  # before the name of an output that is written into an array given at loading
Sizes = Mapping[str, tuple[tuple[int, ...], ...]]  # what Python functions gave, by name


@dataclass(frozen=True)
class Program:
    """A compiled program.

    inputs: what a call is fed. outputs: what it returns. state: the flat or single state buffers it reads, by name;
    updates: those it writes. source: the text of the generated module. arena_bytes: the memory plan's size, with the
    scratch of its threads, for which the program is made. constants: read-only arrays, by the name of their buffer.
    parts: where Python functions are called, the programs and calls of which it consists, in their order; the tables
    are those of all parts. resized: makes the program for other sizes of what these functions give.
    bound: the outputs that are written into arrays given at loading. ranges: of the numbers that inputs may hold.
    commits: when parts of flat state are written; of a program of one part.
    """

    name: str
    mode: str
    target: str
    dims: Mapping[str, int]
    inputs: Mapping[str, TensorType]
    outputs: Mapping[str, TensorType]
    state: Mapping[str, TensorType]
    updates: tuple[str, ...]
    functions: tuple[Function, ...] = ()
    launches: tuple[Launch, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    arena_bytes: int = 0
    source: str = ""
    ledger: tuple[Decision, ...] = ()
    threads: int = 1
    constants: Mapping[str, Constant] = field(default_factory=dict)
    proved: Proofs = field(default_factory=Proofs)
    parts: tuple[Program | HostCall, ...] = ()
    resized: Callable[[Sizes], Program] | None = None
    bound: tuple[str, ...] = ()
    ranges: tuple[ValueRange, ...] = ()
    commits: tuple[Commit, ...] = ()

    @property
    def returned(self) -> dict[str, TensorType]:
        """The outputs that a caller gets: without the flags of ranges."""
        flags = {one.flag for one in self.ranges}
        return {name: type_ for name, type_ in self.outputs.items() if name not in flags}


def share_of(length: int, rank: int, ranks: int) -> tuple[int, int]:
    """The elements [start, stop) of a flat buffer that a process updates, where each has a share of the solver."""
    share = -(-length // ranks)
    return min(length, rank * share), min(length, (rank + 1) * share)


def joined(
    parts: Sequence[Program | HostCall], inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType]
) -> Program:
    """The program of several with calls between them. inputs, outputs: those that are not only between parts."""
    programs = [part for part in parts if isinstance(part, Program)]
    proved = [program.proved for program in programs]
    return replace(
        programs[-1],
        inputs=dict(inputs),
        outputs=dict(outputs),
        state={name: type_ for program in programs for name, type_ in program.state.items()},
        updates=tuple(name for program in programs for name in program.updates),
        functions=tuple(function for program in programs for function in program.functions),
        launches=tuple(launch for program in programs for launch in program.launches),
        buffers=tuple(buffer for program in programs for buffer in program.buffers),
        arena_bytes=sum(program.arena_bytes for program in programs),
        source="\n\n".join(program.source for program in programs),
        ledger=tuple(decision for program in programs for decision in program.ledger),
        constants={name: value for program in programs for name, value in program.constants.items()},
        commits=(),
        proved=Proofs(*(sum(getattr(one, key.name) for one in proved) for key in fields(Proofs))),
        parts=tuple(parts),
    )
