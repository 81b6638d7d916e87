"""Kernels of the triton target one at a time, each in memory of its own, in Triton's interpreter, beside the oracle.

A kernel reads what the oracle computed for it, rounded to the types in which values are stored and laid out as in the
whole program; all other bytes are NaN, and must still be when it has run. So must what it only reads be as it was.
Every access is watched (`interpreted.run_interpreted`), against the exact elements of its operands and results.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from netc.compiler import ops
from netc.compiler.codegen.loops.storage import Storage, Stored
from netc.compiler.codegen.triton.templates import write_kernel
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.ops.rounding import Arithmetic, Bounded
from netc.compiler.program import Function, Launch, Program
from netc.compiler.types import TensorType
from netc.passes import manager
from netc.passes.unit import Unit
from netc.runtime.stored import STORED, packed, size_of, unpacked
from netc.verification.budget import analyse
from netc.verification.compare import Compared, compare
from support.interpreted import run_interpreted
from support.lowered import placing

Array = np.ndarray[Any, Any]
POISON = 0xFF


@dataclass(frozen=True)
class Ran:
    """A kernel that was run: its function, results, and seconds."""

    kernel: Node
    function: str
    results: tuple[Compared, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.results)

    @property
    def worst(self) -> float:
        """The largest error, of what its budget allows."""
        return max((one.ratio for one in self.results), default=0.0)

    def __str__(self) -> str:
        kind, wrong = self.kernel.attrs["kind"], [one for one in self.results if not one.ok]
        return f"{kind} {self.function} {self.kernel.attrs['schedule']}: {'; '.join(map(str, wrong))}"


def run_each(
    kernels: Unit,
    feeds: Mapping[str, Array],
    arithmetic: Arithmetic,
    chosen: Callable[[Node], bool] = lambda kernel: True,
) -> Iterator[Ran]:
    """Each kernel that was made for a GPU, and those that add its sums; once where several are the same function.

    feeds: for inputs and state by name. chosen: which kernels are run; for the others the oracle stands in.
    """
    unit = manager.run(kernels, placing("triton"))
    graph, placed = unit.graph, unit.plan
    assert placed is not None
    storage = Storage(graph, placed, write_kernel)
    values = _Values(graph, feeds)
    seen: set[str] = set()
    for kernel in placed.kernels:
        before = len(storage.launches)
        storage.kernel(kernel)
        launch = storage.launches[-1]
        if len(storage.launches) == before or launch.function in seen or not chosen(kernel):
            values.skip(kernel)
            continue
        seen.add(launch.function)
        wanted = values.judge(kernel, arithmetic)
        items = values.items(kernel)
        began = time.perf_counter()
        got = _Alone(storage, kernel, launch, values).run(list(items.values()))
        seconds = time.perf_counter() - began
        results = [
            compare(node, wanted[k], got[items[k]], arithmetic, name=node.op.name, layer=node.scope, kind="kernel")
            for k, node in enumerate(kernel.attrs["body"].outputs.values())
            if k in items
        ]
        yield Ran(kernel, launch.function, tuple(results), seconds)


class _Values:
    """What the oracle computed for each stored value, as it is stored."""

    def __init__(self, graph: Graph, feeds: Mapping[str, Array]) -> None:
        self.graph, self.feeds = graph, feeds
        self.known: dict[Node, Array] = {}

    def of(self, node: Node) -> Array:
        """A stored value, or a view of some."""
        if node.op in (ops.input_, ops.param):
            return rounded(np.asarray(self.feeds[node.attrs["name"]]).reshape(node.shape), node.dtype)
        if node.op is ops.item:
            return self.known[node]
        return np.asarray(node.op.numpy(*(self.of(x) for x in node.inputs), **node.attrs))

    def items(self, kernel: Node) -> dict[int, Node]:
        """The nodes that stand for a kernel's results, by number."""
        return {user.attrs["index"]: user for user in self.graph.users[kernel]}

    def operands(self, kernel: Node) -> dict[str, Array]:
        return {f"in{i}": self.of(x) for i, x in enumerate(kernel.inputs)}

    def skip(self, kernel: Node) -> None:
        """Only compute a kernel's results."""
        found, _ = evaluate(kernel.attrs["body"], self.operands(kernel))
        for k, item in self.items(kernel).items():
            self.known[item] = rounded([*found.values()][k], item.dtype)

    def judge(self, kernel: Node, arithmetic: Arithmetic) -> dict[int, Bounded]:
        """A kernel's results in double precision, with what rounding may do to them."""
        body: Graph = kernel.attrs["body"]
        results = [*body.outputs.values()]
        found: dict[int, Bounded] = {}

        def seen(node: Node, want: Bounded) -> Bounded:
            found.update({k: want for k, result in enumerate(results) if result is node})
            return want

        analyse(body, self.operands(kernel), arithmetic, results, seen)
        for k, item in self.items(kernel).items():
            self.known[item] = rounded(found[k].value, item.dtype)
        return found


def rounded(array: Array, dtype: str) -> Array:
    """An array with the values that memory of a type holds, as numpy sees them."""
    with np.errstate(over="ignore"):
        return unpacked(packed(array, dtype).reshape(-1).view(np.uint8), dtype).reshape(array.shape)


class _Alone:
    """The launch of one kernel, with memories that hold its operands and nothing else."""

    def __init__(self, storage: Storage, kernel: Node, launch: Launch, values: _Values) -> None:
        self.storage, self.kernel, self.launch, self.values = storage, kernel, launch, values
        self.images: dict[str, Array] = {}
        self.written: set[str] = set()

    def run(self, items: Sequence[Node]) -> dict[Node, Array]:
        """The results, by item."""
        for node in self.kernel.inputs:
            stored = self.storage.value(node)
            self.elements(stored)[...] = packed(self.values.of(node), stored.place.dtype)
        for name, literal in self.storage.constants.items():
            stored = self.storage.stored[name]
            self.elements(stored)[...] = packed(literal.array(), stored.place.dtype)
        places = {item: self.storage.values[item] for item in items}
        for stored in places.values():
            self.image(stored)
            self.written.add(self.memory(stored))
        _, state = run_interpreted(
            self.program(),
            {name: image for name, image in self.images.items() if name not in self.written},
            {name: self.images[name] for name in self.written},
        )
        found = {}
        for item, stored in places.items():
            mine = self.elements(stored, state)
            bytes_ = mine.copy(order="C").reshape(-1).view(np.uint8)
            found[item] = unpacked(bytes_, stored.place.dtype).reshape(item.shape)
        for item, stored in places.items():  # what is left differs only where nothing may be written
            if item in self.storage.plan.pitches:  # but between rows
                state[self.memory(stored)][...] = self.image(stored)
            self.elements(stored, state)[...] = self.elements(stored)
        for name in self.written:
            assert np.array_equal(state[name], self.images[name]), f"{self.launch.function} wrote beside its results"
        return found

    def memory(self, stored: Stored) -> str:
        """Of which memory a value is a part."""
        buffer = stored.buffer
        return f"arena {stored.block}" if stored.block is not None else f"{buffer.space} {buffer.base or buffer.name}"

    def image(self, stored: Stored) -> Array:
        """The bytes of that memory, before the kernel runs."""
        name = self.memory(stored)
        if name not in self.images:
            if stored.block is not None:
                size = self.storage.blocks[stored.block][0]
            else:
                size = stored.place.count * size_of(stored.place.dtype)
            self.images[name] = np.full(max(size, 1), POISON, np.uint8)
        return self.images[name]

    def elements(self, stored: Stored, images: Mapping[str, Array] | None = None) -> Array:
        """A value in its memory, which may be written."""
        image = self.image(stored) if images is None else images[self.memory(stored)]
        place, size = stored.place, size_of(stored.place.dtype)
        if not math.prod(place.shape):
            return np.empty(place.shape, STORED[place.dtype][0])
        end = len(image) - (len(image) - stored.start) % size
        flat = image[stored.start : end].view(STORED[place.dtype][0])
        return np.lib.stride_tricks.as_strided(flat, place.shape, [t * size for t in place.strides])

    def program(self) -> Program:
        """The launch as a program: what it writes is state, what it only reads are inputs, bytes all of them."""
        name, one = self.launch.function, dict(self.storage.written.values())[self.launch.function]
        source = one.text.replace("NAME", name, 1)
        function = Function(name, one.kind, source, one.key, one.arguments, one.constants, one.warps, one.stages)
        texts = ["import triton\nimport triton.language as tl\n", *dict(one.helpers).values(), source]
        types = {name: TensorType((len(image),), "u8") for name, image in self.images.items()}
        buffers = []
        for argument in dict.fromkeys(self.launch.arguments):
            stored = self.storage.stored[argument]
            memory = self.memory(stored)
            space: Literal["state", "input"] = "state" if memory in self.written else "input"
            buffers.append(replace(stored.buffer, space=space, offset=stored.start, base=memory))
        return Program(
            name=name,
            mode="test",
            target="triton",
            dims={},
            inputs={name: type_ for name, type_ in types.items() if name not in self.written},
            outputs={},
            state={name: types[name] for name in sorted(self.written)},
            updates=tuple(sorted(self.written)),
            functions=(function,),
            launches=(replace(self.launch, phase="step"),),
            buffers=tuple(buffers),
            arena_bytes=0,
            source="\n\n".join(texts),
        )
