"""Buffer assignment: values to buffers, views and parts of concats; and which functions are launched on which buffers.

The same for every target whose kernels the evaluator writes; how one kernel is written is handed in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ... import ops
from ...graph import Graph, Node
from ...kernel import Blocks, items_of, made_in, narrow
from ...plan import Plan, pack
from ...program import Buffer, Function, Program, Proofs
from ...types import SIZES, Literal, TensorType
from ..assignment import Assignment
from ..lifetimes import ARENA, Region, lifetimes
from ..names import Names, kind_name, note_of, title
from ..strides import Ints, order_of, strides_of
from .place import MemRef
from .written import Written

# Writes a kernel: its body, its kind, its blocks, and where its operands and its results are.
WriteKernel = Callable[[Graph, str, Blocks, Sequence[MemRef], Sequence[MemRef]], Written]
ALIGNED = 16


@dataclass(frozen=True)
class Stored:
    """A value in memory. block: its piece of the arena, None for inputs, state and constants. start: bytes into it."""

    buffer: Buffer
    place: MemRef
    block: int | None
    start: int

    @property
    def shape(self) -> Ints:
        return self.place.shape

    @property
    def strides(self) -> Ints:
        return self.place.strides


class Storage(Assignment[Stored]):
    """What has been written so far. write_kernel: how one kernel is."""

    def __init__(self, graph: Graph, plan: Plan, write_kernel: WriteKernel, reserved: Sequence[str] = ()) -> None:
        super().__init__(graph, plan, (*reserved, *graph.outputs, *graph.inputs, *graph.params, *graph.updates))
        self.write_kernel = write_kernel
        self.written: dict[str, tuple[str, Written]] = {}
        self.comments: dict[str, list[str]] = {}
        self.stored: dict[str, Stored] = {}
        self.constants: dict[str, Literal] = {}
        self.loads = self.stores = self.shared = 0
        # Kernels behind which threads do not wait for each other.
        self.loose: set[Node] = set()
        self.pointers: dict[str, dict[str, str]] = {}
        self.outputs: dict[Node, str] = {}
        for name, node in graph.outputs.items():
            self.outputs.setdefault(node, name)

    # Memory.

    def enter(self, stored: Stored) -> Stored:
        self.stored[stored.buffer.name] = stored
        return stored

    def buffer_name(self, wanted: str) -> str:
        """`wanted` itself unless another buffer or an output has that name."""
        return wanted if wanted not in self.stored and wanted not in self.graph.outputs else self.names.fresh(wanted)

    def outside(self, node: Node, key: str, space: str) -> Stored:
        return self._outside(node.type, key, space)

    def _outside(self, type_: TensorType, key: str, space: str) -> Stored:
        """What lies row-major in memory of its own."""
        shape = tuple(map(int, type_.shape))
        order = tuple(range(len(shape)))
        name = self.buffer_name(key)
        base = "" if name == key else key
        buffer = Buffer(name, type_, space, 0, order, base)  # type: ignore[arg-type]
        place = MemRef(name, shape, strides_of(shape, order), type_.dtype, True, type_.count, f"{space}:{key}")
        return self.enter(Stored(buffer, place, None, 0))

    def inside(self, node: Node, outer: Stored, strides: Ints, first: int) -> Stored:
        whole, place, scope = outer.buffer, outer.place, node.scope
        shape = tuple(map(int, node.shape))
        start = outer.start + first * SIZES[place.dtype]
        base = whole.base or whole.name
        known = self.part_name(node, base, start)
        what = kind_name(node) if node.op is ops.item else base.strip(".")
        name = self._name_of(node, known or (what if what.startswith(scope) else f"{scope}_{what}"))
        order = order_of(shape, strides)
        plain = strides_of(shape, order)
        apart = strides if any(n > 1 and a != b for n, a, b in zip(shape, strides, plain, strict=True)) else ()
        buffer = Buffer(name, node.type, whole.space, start, order, base, whole.stored, apart)
        memory = f"{place.memory}+{start}" if first else place.memory
        aligned = start % ALIGNED == 0
        return self.enter(
            Stored(buffer, MemRef(name, shape, strides, place.dtype, aligned, place.count, memory), outer.block, start)
        )

    def _name_of(self, node: Node, wanted: str) -> str:
        """An output's own name, or one like `wanted`."""
        output = self.outputs.get(node, "")
        return output if output and output not in self.stored else self.names.fresh(wanted)

    def arena(self, node: Node) -> Stored:
        shape = tuple(map(int, node.shape))
        dtype = "u8" if node.op is ops.item and narrow(made_in(node)) else node.dtype
        order = self.plan.orders.get(node, tuple(range(len(shape))))
        what = f"{node.scope}_{kind_name(node)}" if node.scope else kind_name(node)
        if node in self.plan.pitches:
            # Kernels may write between the rows, so what they are given is all of it; see `program` for outputs.
            run, pitch = self.plan.pitches[node]
            name, count = self.names.fresh(what), node.type.count // run * pitch
            strides = tuple(s if s < run else s // run * pitch for s in strides_of(shape, order))
            buffer = Buffer(name, TensorType((count,), dtype), "arena", 0, (0,))
        else:
            name, count, strides = self._name_of(node, what), node.type.count, strides_of(shape, order)
            buffer = Buffer(name, node.type, "arena", 0, tuple(order), "", dtype if dtype != node.dtype else "")
        place = MemRef(name, shape, strides, dtype, True, count, f"arena:{name}")
        size = max(place.count, math.prod(shape)) * SIZES[dtype]
        return self.enter(Stored(buffer, place, self.held(node, size), 0))

    def constant(self, literal: Literal) -> Stored:
        """A constant array, once for all that read it."""
        for name, other in self.constants.items():
            if other == literal:
                return self.stored[name]
        name = self.names.fresh("constant")
        self.constants[name] = literal
        return self._outside(TensorType(literal.shape, literal.dtype), name, "constant")

    # Kernels.

    def kernel(self, kernel: Node) -> None:
        body: Graph = kernel.attrs["body"]
        kind, blocks = kernel.attrs["kind"], kernel.attrs["schedule"]
        operands = [self.value(x) for x in kernel.inputs]
        items = items_of(self.graph, kernel)
        results = []
        for k, node in enumerate(body.outputs.values()):
            if k not in items:
                raise AssertionError(f"nobody reads result {k} of a kernel of {node.scope}")
            results.append(self.values.get(items[k]) or self.allocate(items[k]))
        if not any(node.type.count for node in body.outputs.values()):
            return
        read = [replace(x.place, name=f"in{i}") for i, x in enumerate(operands)]
        made = [replace(x.place, name=f"out{i}") for i, x in enumerate(results)]
        written = self.write_kernel(body, kind, blocks, read, made)
        stored = {argument.name for argument in written.arguments if argument.written}
        for (name, node), place in zip(body.outputs.items(), made, strict=True):
            if node.type.count and place.name not in stored:
                raise AssertionError(f"a {kind} kernel of {node.scope} stores no {name}")
        note = note_of(body, written.kind)
        if written.key not in self.written:
            update = all(x.buffer.space == "state" for x in results)
            self.written[written.key] = (self.names.fresh(title(body, kind, update=update)), written)
        self.loads, self.stores = self.loads + written.loads, self.stores + written.stores
        self.shared += written.shared
        self.loose |= set() if written.waits else {kernel}
        name = self.written[written.key][0]
        seen = self.comments.setdefault(name, [])
        if note not in seen:
            seen.append(note)
        # Equal functions may name their pointers' places differently only in what is not in their text.
        bound = zip((*read, *made), (*operands, *results), strict=True)
        pointers = {place.name: x.buffer.name for place, x in bound}
        pointers |= {place: self.constant(literal).buffer.name for place, literal in written.literals}
        if name not in self.pointers:
            self.pointers[name] = pointer_names([(place.name, pointers[place.name]) for place in written.places])
        arguments = [pointers[place.name] for place in written.places]
        self.launch(kernel, name, arguments, written.traffic, written.grid, blocks.key)

    # The program.

    def program(self, begun: Program) -> Program:
        """The program with all kernels of the plan, written; the text of the module is left to the target."""
        self.write()
        offsets, size = pack(self.blocks, begins=self.begins)

        def region(stored: Stored) -> Region:
            place, buffer = stored.place, stored.buffer
            memory = ARENA if stored.block is not None else f"{buffer.space}:{buffer.base or buffer.name}"
            start = stored.start + (offsets[stored.block] if stored.block is not None else 0)
            return Region(memory, start, SIZES[place.dtype], place.shape, place.strides)

        regions = {node: region(stored) for node, stored in self.values.items()}
        reads = lifetimes(self.graph, self.plan, regions, {}, size, self.loose)
        proved = Proofs(reads, self.loads, self.stores, self.shared)
        buffers = []
        for stored in self.stored.values():
            offset = stored.start + (offsets[stored.block] if stored.block is not None else 0)
            buffers.append(replace(stored.buffer, offset=offset))
        found = {buffer.name: buffer for buffer in buffers}
        for name, node in self.graph.outputs.items():
            if name not in found:
                there = found[self.values[node].buffer.name]
                base = there.base or (there.name if there.space in ("input", "state") else "")
                if node in self.plan.pitches:
                    there = replace(there, type=node.type, strides=self.values[node].place.strides)
                buffers.append(replace(there, name=name, base=base))
        functions = tuple(
            Function(
                name,
                one.kind,
                with_names(one.text.replace("NAME", name), self.pointers[name]),
                key,
                tuple(replace(a, name=self.pointers[name][a.name]) for a in one.arguments),
                one.constants,
                one.warps,
                one.stages,
            )
            for key, (name, one) in self.written.items()
        )
        return replace(
            begun,
            functions=functions,
            launches=tuple(self.launches),
            buffers=tuple(buffers),
            arena_bytes=size,
            constants=self.constants,
            proved=proved,
        )


def pointer_names(bound: Sequence[tuple[str, str]]) -> dict[str, str]:
    """For a function's own names of its pointers (`in0`), names after the buffers that it is first launched on."""
    names = Names()
    found: dict[str, str] = {}
    seen: set[str] = set()
    for pointer, buffer in bound:
        found[pointer] = names.fresh(f"new_{buffer}_ptr" if buffer in seen else f"{buffer}_ptr")
        seen.add(buffer)
    return found


def with_names(text: str, names: Mapping[str, str]) -> str:
    """A function's text with its pointers renamed."""
    return re.sub(rf"\b(?:{'|'.join(names)})\b", lambda found: names[found[0]], text) if names else text
