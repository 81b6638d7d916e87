"""The numpy target: a module that a person can read, one function a distinct kernel, arrays bound once.

The module needs numpy only. `bind(inputs, state, pool)` makes all arrays and returns the outputs (views that each step
fills), and two lists of calls: those to make when the state was set, and those of a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from ....grammar.source import printable
from ... import ops
from ...graph import Graph, Node
from ...kernel import Schedule, items_of
from ...plan import Plan, aligned, pack
from ...program import Buffer, Function, Program, Proofs
from ..assignment import Assignment
from ..lifetimes import ARENA, Region, lifetimes
from ..names import below_reshapes, kind_name, note_of, title
from .kernel import SMALL, UNIT, WrittenKernel, write_kernel
from .ref import SIZES, ArrayPlace, Ints, order_of, place_of

# What the text around the kernels uses itself (see `frame.py` and `module.py`).
HEAD_NAMES = ("np", "partial", "as_strided", "array", "launch", "draw", "round_bf16")
BIND_NAMES = ("bind", "inputs", "state", "pool", "arena", "prepare", "step", "outputs")


class Module(Assignment[ArrayPlace]):
    """A module being written."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        super().__init__(graph, plan, (*HEAD_NAMES, *BIND_NAMES))
        self.functions: dict[str, tuple[str, WrittenKernel, str]] = {}
        self.bound: list[str] = []
        self.buffers: list[Buffer] = []
        self.placed: dict[Node, tuple[int, Ints]] = {}  # of values in the arena: block, order of axes
        self.scratch: dict[Node, list[int]] = {}  # and of kernels, the blocks of their threads

    def _enter(self, wanted: str, text: str, place: ArrayPlace) -> ArrayPlace:
        """A value under a name of its own, bound to what a text makes. place: where that is, without the name."""
        name = self.names.fresh(wanted)
        self.bound.append(f"{name} = {text}")
        return replace(place, name=name)

    def outside(self, node: Node, key: str, space: Literal["input", "state"]) -> ArrayPlace:
        self.buffers.append(Buffer(key, node.type, space, 0, tuple(range(len(node.shape)))))
        place = place_of(node, node.type.numpy_dtype.name, memory=f"{space}:{key}" if space == "state" else "")
        table = "inputs" if space == "input" else "state"
        return self._enter(key, f"{table}[{key!r}]  # {node.type}", place)

    def inside(self, node: Node, outer: ArrayPlace, strides: Ints, first: int) -> ArrayPlace:
        place = replace(outer, shape=tuple(map(int, node.shape)), strides=strides, start=outer.start + first)
        known = self.part_name(node, outer.memory.removeprefix("state:"), place.start * SIZES[place.dtype])
        part = node.op in (ops.item, ops.concat)
        called, text = (kind_name(node), self._part(node)) if part else (outer.name, _view(node))
        return self._enter(known or _named(node, called), f"{outer.name}{text}", place)

    def _part(self, node: Node) -> str:
        """The text that takes a value out of the concat in which it lies."""
        home = self.plan.homes[node]
        assert home.parent is not None
        operand = next(x for x in home.parent.inputs if node is below_reshapes(x))
        axis = home.parent.attrs["axis"]
        text = f"[{':, ' * axis}{home.start}:{home.start + int(operand.shape[axis])}]"
        return text if operand is node else text + _reshape(node)

    def arena(self, node: Node, written: ArrayPlace | None = None) -> ArrayPlace:
        """written: its place where the kernel chose it."""
        order = self.plan.orders.get(node)
        place = written or place_of(node, node.type.numpy_dtype.name, order)
        order = order or order_of(place.shape, place.strides)
        block = self.held(node, place.nbytes)
        self.placed[node] = block, order
        text = f"array(arena, {_offset(block)}, {place.dtype!r}, {place.shape}, {order})"
        self.values[node] = self._enter(_named(node, kind_name(node)), text, replace(place, memory=f"arena:{block}"))
        return self.values[node]

    def packed(self) -> tuple[int, Proofs]:
        """Give each piece of the arena its offset; the bytes of the arena, and what was proved of it."""
        offsets, size = pack(self.blocks, begins=self.begins, small=SMALL, unit=UNIT)
        self.bound = [re.sub("\0([0-9]+)\0", lambda found: str(offsets[int(found[1])]), x) for x in self.bound]
        regions: dict[Node, Region] = {}
        for node, (block, order) in self.placed.items():
            place = self.values[node]
            self.buffers.append(Buffer(place.name, node.type, "arena", offsets[block], order))
            regions[node] = Region(ARENA, offsets[block], SIZES[place.dtype], place.shape, place.strides)
        scratch = {
            kernel: [Region(ARENA, offsets[block], 1, (self.blocks[block][0],), (1,)) for block in blocks]
            for kernel, blocks in self.scratch.items()
        }
        return size, Proofs(reads=lifetimes(self.graph, self.plan, regions, scratch, size))

    def forced(self, node: Node) -> ArrayPlace | None:
        """The place of a result that is decided before its kernel is written, or None."""
        if self.plan.homes[node].space in ("state", "part"):
            return self.allocate(node)
        order = self.plan.orders.get(node)
        return None if order is None else place_of(node, node.type.numpy_dtype.name, order)

    def kernel(self, kernel: Node) -> None:
        plan = self.plan
        body: Graph = kernel.attrs["body"]
        schedule: Schedule = kernel.attrs["schedule"]
        kind = kernel.attrs["kind"]
        operands = [self.value(x) for x in kernel.inputs]
        items = items_of(self.graph, kernel)
        results = [self.forced(items[k]) if k in items else None for k in range(len(body.outputs))]
        written = write_kernel(kind, body, schedule, operands, results, threads=plan.threads, inner=plan.inner)
        outs = [self.values.get(items[k]) or self.arena(items[k], place) for k, place in enumerate(written.places)]
        if written.key not in self.functions:
            update = all(out.memory.startswith("state:") for out in outs)
            self.functions[written.key] = (self.names.fresh(title(body, kind, update=update)), written, kind)
        function = self.functions[written.key][0]
        totals, scratch = [], aligned(written.scratch) if written.totals else written.scratch
        for k in written.totals if schedule.split else ():
            totals.append((k, scratch))
            scratch += aligned(outs[k].nbytes)
        ranges = _ranges(schedule, plan.threads if schedule.split else 1) if schedule.length else ((),)
        now = plan.kernels.index(kernel)
        self.scratch[kernel] = [self.block(scratch, now, now) for _ in ranges]
        text = (
            f"launch(pool, {function}, {_tuple(v.name for v in operands)}, {_tuple(v.name for v in outs)}, "
            f"arena, {function}_scratch, {_tuple(map(_offset, self.scratch[kernel]))}"
        )
        text += f", tiles={ranges}" if schedule.length else ""
        text += f", totals={tuple(totals)}" if totals else ""
        moved = sum(x.type.nbytes for x in kernel.inputs) + sum(n.type.nbytes for n in body.outputs.values())
        self.launch(kernel, function, [v.name for v in (*operands, *outs)], moved)
        self.bound += [f"# {printable(note_of(body, kind))}", f"{self.launches[-1].phase}.append({text}))"]


def _reshape(node: Node) -> str:
    return f".reshape{tuple(map(int, node.shape)) or '(())'}"


def _view(node: Node) -> str:
    """The text that makes a view of what it is one of."""
    if node.op is ops.reshape:
        return _reshape(node)
    if node.op is ops.transpose:
        return f".transpose{node.attrs['perm']}"
    cuts = zip(node.attrs["start"], node.attrs["stop"], node.attrs["step"], strict=True)
    return f"[{', '.join(f'{a}:{b}:{s}' if s > 1 else f'{a}:{b}' for a, b, s in cuts)}]"


def _named(node: Node, what: str) -> str:
    return f"{node.scope}_{what}" if node.scope else what


def _offset(block: int) -> str:
    """What stands in the text for the offset of a piece of the arena until it is packed."""
    return f"\0{block}\0"  # which no name of a layer or file has in it


def _tuple(names: Iterable[str]) -> str:
    found = list(names)
    return f"({', '.join(found)}{',' if len(found) == 1 else ''})"


def _ranges(schedule: Schedule, threads: int) -> tuple[tuple[int, int], ...]:
    """The range of the tiled axis for each thread: whole tiles, as equal as they come."""
    tiles = -(-schedule.length // schedule.tile)
    found = []
    for t in range(threads):
        start, stop = tiles * t // threads * schedule.tile, tiles * (t + 1) // threads * schedule.tile
        stop = min(stop, schedule.length)
        if start < stop:
            found.append((start, stop))
    return tuple(found)


def emit_numpy(graph: Graph, plan: Plan, program: Program) -> Program:
    """The program with its kernels as a numpy module."""
    from .module import module_text

    module = Module(graph, plan)
    module.write()
    outputs = {key: module.value(node).name for key, node in graph.outputs.items()}
    arena, proved = module.packed()
    functions = tuple(
        Function(title, kind, written.text.replace("NAME", title, 1), key)
        for key, (title, written, kind) in module.functions.items()
    )
    program = replace(
        program,
        functions=functions,
        launches=tuple(module.launches),
        buffers=tuple(module.buffers),
        arena_bytes=arena,
        proved=proved,
    )
    return replace(program, source=module_text(module, program, outputs))
