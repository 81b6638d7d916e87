"""The numpy target: a module that a person can read, one function a distinct kernel, arrays bound once.

The module needs numpy only. `bind(inputs, state, pool)` makes all arrays and returns the outputs (views that each step
fills), and two lists of calls: those to make when the state was set, and those of a step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ....grammar.source import printable
from ... import ops
from ...graph import Graph, Node
from ...kernel import Schedule, kind_of
from ...plan import Plan, aligned, pack
from ...program import Buffer, Decision, Function, Launch, Program, Proofs
from ..lifetimes import ARENA, Region, lifetimes
from ..names import Names, below_reshapes, kind_name, origins, title
from ..strides import part_of, viewed
from .kernel import SMALL, UNIT, WrittenKernel, write_kernel
from .ref import SIZES, ArrayPlace, Ints, order_of, place_of

# What the text around the kernels uses itself (see `frame.py` and `module.py`).
HEAD_NAMES = ("np", "partial", "as_strided", "array", "launch", "draw", "round_bf16")
BIND_NAMES = ("bind", "inputs", "state", "pool", "arena", "prepare", "step", "outputs")


@dataclass
class Module:
    """A module being written."""

    graph: Graph
    plan: Plan
    name: str
    values: dict[Node, ArrayPlace] = field(default_factory=dict)
    names: Names = field(default_factory=lambda: Names((*HEAD_NAMES, *BIND_NAMES)))
    functions: dict[str, tuple[str, WrittenKernel, str]] = field(default_factory=dict)
    bound: list[str] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    blocks: list[tuple[int, int, int]] = field(default_factory=list)
    placed: dict[Node, tuple[int, Ints]] = field(default_factory=dict)  # of values in the arena: block, order of axes
    scratch: dict[Node, list[int]] = field(default_factory=dict)  # and of kernels, the blocks of their threads

    def value(self, node: Node) -> ArrayPlace:
        """A value that is there already: fed, state, written before, or a view of one of these."""
        if node in self.values:
            return self.values[node]
        if node.op in (ops.input_, ops.param):
            return self._outside(node, node.attrs["name"], "input" if node.op is ops.input_ else "state")
        if node.op is ops.concat:
            return self.allocate(node, None)
        if node.op in (ops.reshape, ops.slice_, ops.transpose):
            return self._view(node)
        raise AssertionError(f"{node.op.name} is read before it is written")

    def _enter(self, node: Node, wanted: str, text: str, place: ArrayPlace) -> ArrayPlace:
        """A value under a name of its own, bound to what a text makes. place: where that is, without the name."""
        name = self.names.fresh(wanted)
        self.bound.append(f"{name} = {text}")
        self.values[node] = replace(place, name=name)
        return self.values[node]

    def _outside(self, node: Node, key: str, space: Literal["input", "state"]) -> ArrayPlace:
        """An input or a state, which lies row-major in memory of its own."""
        self.buffers.append(Buffer(key, node.type, space, 0, tuple(range(len(node.shape)))))
        place = place_of(node, node.type.numpy_dtype.name, memory=f"{space}:{key}" if space == "state" else "")
        table = "inputs" if space == "input" else "state"
        return self._enter(node, key, f"{table}[{key!r}]  # {node.type}", place)

    def _view(self, node: Node) -> ArrayPlace:
        """A view of a stored value, made once when arrays are bound."""
        below = self.value(node.inputs[0])
        if node.op is ops.reshape:
            text = f".reshape{tuple(map(int, node.shape)) or '(())'}"
        elif node.op is ops.transpose:
            text = f".transpose{node.attrs['perm']}"
        else:
            cuts = zip(node.attrs["start"], node.attrs["stop"], node.attrs["step"], strict=True)
            text = f"[{', '.join(f'{a}:{b}:{s}' if s > 1 else f'{a}:{b}' for a, b, s in cuts)}]"
        return self._inside(node, below, viewed(node, below.shape, below.strides), text, below.name)

    def _part(self, node: Node) -> ArrayPlace:
        """A value that lies inside of a concat."""
        home = self.plan.homes[node]
        assert home.parent is not None
        outer = self.value(home.parent)
        operand = next(x for x in home.parent.inputs if node is below_reshapes(x))
        axis = home.parent.attrs["axis"]
        text = f"[{':, ' * axis}{home.start}:{home.start + int(operand.shape[axis])}]"
        if operand is not node:
            text += f".reshape{tuple(map(int, node.shape)) or '(())'}"
        return self._inside(node, outer, part_of(node, home, outer.strides), text, kind_name(node))

    def _inside(
        self, node: Node, outer: ArrayPlace, found: tuple[Ints, int] | None, text: str, called: str
    ) -> ArrayPlace:
        """A value within another. found: its strides and its first element there. text: what makes it of the other."""
        if found is None:
            raise AssertionError(f"{node} does not lie in one piece inside of {outer.name}")
        strides, first = found
        place = replace(outer, shape=tuple(map(int, node.shape)), strides=strides, start=outer.start + first)
        part = (outer.memory.removeprefix("state:"), place.start * SIZES[place.dtype], node.type.nbytes)
        read = any(user.op is ops.kernel for user in self.graph.users[node])
        known = self.plan.parts.get(part, "") if read else ""
        return self._enter(node, known or _named(node, called), f"{outer.name}{text}", place)

    def allocate(self, node: Node, written: ArrayPlace | None) -> ArrayPlace:
        """The array of an item or a concat. written: its place where the kernel chose it."""
        home = self.plan.homes[node]
        if home.space == "state":
            source = self.graph.params.get(home.name)
            if source is None:
                return self._outside(node, home.name, "state")
            self.values[node] = self.value(source)
            return self.values[node]
        if home.space == "part":
            return self._part(node)
        order = self.plan.orders.get(node)
        place = written or place_of(node, node.type.numpy_dtype.name, order)
        order = order or order_of(place.shape, place.strides)
        block = self.block(place.nbytes, *self.plan.lives[node])
        self.placed[node] = block, order
        text = f"array(arena, {_offset(block)}, {place.dtype!r}, {place.shape}, {order})"
        return self._enter(node, _named(node, kind_name(node)), text, replace(place, memory=f"arena:{block}"))

    def block(self, size: int, first: int, last: int) -> int:
        """A piece of the arena that is needed during some launches."""
        self.blocks.append((size, first, last))
        return len(self.blocks) - 1

    def packed(self) -> tuple[int, Proofs]:
        """Give each piece of the arena its offset; the bytes of the arena, and what was proved of it."""
        offsets, size = pack(self.blocks, small=SMALL, unit=UNIT)
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
            return self.allocate(node, None)
        order = self.plan.orders.get(node)
        return None if order is None else place_of(node, node.type.numpy_dtype.name, order)

    def kernel(self, kernel: Node) -> None:
        """Write a kernel and its launch."""
        plan = self.plan
        body: Graph = kernel.attrs["body"]
        schedule: Schedule = kernel.attrs["schedule"]
        kind = kind_of(body)
        operands = [self.value(x) for x in kernel.inputs]
        items = {n.attrs["index"]: n for n in self.graph.users[kernel]}
        results = [self.forced(items[k]) if k in items else None for k in range(len(body.outputs))]
        written = write_kernel(kind, body, schedule, operands, results, threads=plan.threads, inner=plan.inner)
        outs = [self.values.get(items[k]) or self.allocate(items[k], place) for k, place in enumerate(written.places)]
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
        layers, places = origins(body)
        note = (", ".join(layers) or kind) + (f"  ({', '.join(places)})" if places else "")
        text = (
            f"launch(pool, {function}, {_tuple(v.name for v in operands)}, {_tuple(v.name for v in outs)}, "
            f"arena, {function}_scratch, {_tuple(map(_offset, self.scratch[kernel]))}"
        )
        text += f", tiles={ranges}" if schedule.length else ""
        text += f", totals={tuple(totals)}" if totals else ""
        phase: Literal["prepare", "step"] = "prepare" if kernel in plan.prepare else "step"
        self.bound += [f"# {printable(note)}", f"{phase}.append({text}))"]
        moved = sum(x.type.nbytes for x in kernel.inputs) + sum(n.type.nbytes for n in body.outputs.values())
        flops = kernel.op.flops(kernel.result, **kernel.attrs)
        arguments = tuple(v.name for v in (*operands, *outs))
        self.launches.append(Launch(function, arguments, layers, places, flops, moved, phase))


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


def emit_numpy(
    graph: Graph,
    plan: Plan,
    *,
    name: str,
    mode: str,
    dims: Mapping[str, int],
    ledger: tuple[Decision, ...],
) -> Program:
    """The program of a graph of kernels as a numpy module."""
    from .module import module_text

    module = Module(graph, plan, name)
    for kernel in plan.kernels:
        module.kernel(kernel)
    outputs = {key: module.value(node).name for key, node in graph.outputs.items()}
    for node in graph.updates.values():
        module.value(node)
    inputs = {n.attrs["name"]: n.type for n in graph.inputs.values()}
    state = {n.attrs["name"]: n.type for n in graph.params.values()}
    state |= {key: node.type for key, node in graph.updates.items()}
    arena, proved = module.packed()
    source = module_text(module, outputs, mode=mode, dims=dims, arena=arena)
    functions = tuple(
        Function(title, kind, written.text.replace("NAME", title, 1), key)
        for key, (title, written, kind) in module.functions.items()
    )
    return Program(
        name=name,
        mode=mode,
        target="numpy",
        dims=dict(dims),
        inputs=inputs,
        outputs={key: node.type for key, node in graph.outputs.items()},
        state=state,
        updates=tuple(graph.updates),
        functions=functions,
        launches=tuple(module.launches),
        buffers=tuple(module.buffers),
        arena_bytes=arena,
        source=source,
        ledger=ledger,
        threads=plan.threads,
        proved=proved,
    )
