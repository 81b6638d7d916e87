"""The numpy target: a module that a person can read, one function a distinct kernel, arrays bound once.

The module needs numpy only. `bind(inputs, state, pool)` makes all arrays and returns the outputs (views that each step
fills), and two lists of calls: those to make when the state was set, and those of a step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ... import ops
from ...graph import Graph, Node
from ...kernel import Schedule, kind_of
from ...plan import Plan, aligned, pack
from ...program import Buffer, Decision, Function, Launch, Program, Proofs
from ..lifetimes import ARENA, Region, lifetimes
from ..names import Names, below_reshapes, kind_name, origins, printable
from ..strides import part_of, viewed
from .body import SIZES
from .kernel import SMALL, UNIT, WrittenKernel, write_kernel
from .ref import ArrayPlace, order_of, strides_of


@dataclass
class StoredValue:
    """A stored value in the module: the name that holds it, its place, and which memory it is."""

    name: str
    place: ArrayPlace


@dataclass
class Module:
    """A module being written."""

    graph: Graph
    plan: Plan
    name: str
    values: dict[Node, StoredValue] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    functions: dict[str, tuple[str, WrittenKernel, str]] = field(default_factory=dict)
    bound: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    blocks: list[tuple[int, int, int]] = field(default_factory=list)
    held: list[tuple[str, Node, tuple[int, ...]]] = field(default_factory=list)
    placed: dict[Node, int] = field(default_factory=dict)  # of values in the arena, their pieces of it
    scratch: dict[Node, list[int]] = field(default_factory=dict)  # and of kernels, those of their threads

    def fresh(self, wanted: str) -> str:
        return self.names.fresh(wanted)

    def value(self, node: Node) -> StoredValue:
        """A value that is there already: fed, state, written before, or a view of one of these."""
        if node in self.values:
            return self.values[node]
        if node.op in (ops.input_, ops.param):
            return self._source(node)
        if node.op is ops.concat:
            return self.allocate(node, None)
        if node.op in (ops.reshape, ops.slice_, ops.transpose):
            return self._view(node)
        raise AssertionError(f"{node.op.name} is read before it is written")

    def _source(self, node: Node) -> StoredValue:
        table = "inputs" if node.op is ops.input_ else "state"
        key = node.attrs["name"]
        name = self.fresh(key)
        shape = tuple(map(int, node.shape))
        dtype = node.type.numpy_dtype.name
        self.bound.append(f"{name} = {table}[{key!r}]  # {node.type}")
        memory = f"{table}:{key}" if table == "state" else ""
        value = StoredValue(name, ArrayPlace(shape, strides_of(shape, range(len(shape))), dtype, memory))
        self.values[node] = value
        self.buffers.append(
            Buffer(key, node.type, "input" if table == "inputs" else "state", 0, tuple(range(len(shape))))
        )
        return value

    def _view(self, node: Node) -> StoredValue:
        """A view of a stored value, made once when arrays are bound."""
        below = self.value(node.inputs[0])
        place, shape = below.place, tuple(map(int, node.shape))
        if node.op is ops.reshape:
            text = f"{below.name}.reshape{shape or '(())'}"
        elif node.op is ops.transpose:
            text = f"{below.name}.transpose{node.attrs['perm']}"
        else:
            cuts = zip(node.attrs["start"], node.attrs["stop"], node.attrs["step"], strict=True)
            text = f"{below.name}[{', '.join(f'{a}:{b}:{s}' if s > 1 else f'{a}:{b}' for a, b, s in cuts)}]"
        found = viewed(node, place.shape, place.strides)
        if found is None:
            raise AssertionError(f"{node} is no view")
        name = self.fresh(f"{node.scope}_{below.name}" if node.scope else below.name)
        self.bound.append(f"{name} = {text}")
        start = node.attrs.get("start", ())
        memory = f"{place.memory}{start}" if place.memory and any(start) else place.memory
        self.values[node] = StoredValue(name, ArrayPlace(shape, found[0], place.dtype, memory))
        return self.values[node]

    def allocate(self, node: Node, written: ArrayPlace | None) -> StoredValue:
        """The array of an item or a concat. written: its place where the kernel chose it."""
        home = self.plan.homes[node]
        shape = tuple(map(int, node.shape))
        dtype = written.dtype if written else node.type.numpy_dtype.name
        if home.space == "state":
            return self._state(node, home.name)
        if home.space == "part":
            return self._part(node)
        order = self.plan.orders.get(node)
        if order is None:
            order = order_of(written.shape, written.strides) if written else tuple(range(len(shape)))
        name = self.fresh(f"{node.scope}_{kind_name(node)}" if node.scope else kind_name(node))
        place = ArrayPlace(shape, strides_of(shape, order), dtype, f"arena:{name}")
        block = self.block(int(np.prod(shape, dtype=np.int64)) * SIZES[dtype], *self.plan.lives[node])
        self.held.append((name, node, tuple(order)))
        self.placed[node] = block
        self.bound.append(f"{name} = array(arena, {_offset(block)}, {dtype!r}, {shape}, {tuple(order)})")
        self.values[node] = StoredValue(name, place)
        return self.values[node]

    def block(self, size: int, first: int, last: int) -> int:
        """A piece of the arena that is needed during some launches."""
        self.blocks.append((size, first, last))
        return len(self.blocks) - 1

    def packed(self) -> tuple[int, Proofs]:
        """Give each piece of the arena its offset; the bytes of the arena, and what was proved of it."""
        offsets, size = pack(self.blocks, small=SMALL, unit=UNIT)
        for i, line in enumerate(self.bound):
            self.bound[i] = re.sub("\0([0-9]+)\0", lambda found: str(offsets[int(found[1])]), line)
        number = {line.split(" = ")[0]: line for line in self.bound}
        for name, node, order in self.held:
            offset = int(number[name].split(", ")[1])
            self.buffers.append(Buffer(name, node.type, "arena", offset, order))
        regions: dict[Node, Region] = {}
        for node, block in self.placed.items():
            place = self.values[node].place
            regions[node] = Region(ARENA, offsets[block], SIZES[place.dtype], place.shape, place.strides)
        scratch = {
            kernel: [Region(ARENA, offsets[block], 1, (self.blocks[block][0],), (1,)) for block in blocks]
            for kernel, blocks in self.scratch.items()
        }
        return size, Proofs(reads=lifetimes(self.graph, self.plan, regions, scratch, size))

    def _state(self, node: Node, key: str) -> StoredValue:
        shape = tuple(map(int, node.shape))
        source = self.graph.params.get(key)
        if source is not None:
            below = self.value(source)
            self.values[node] = StoredValue(below.name, below.place)
            return self.values[node]
        name = self.fresh(key)
        self.bound.append(f"{name} = state[{key!r}]  # {node.type}")
        self.buffers.append(Buffer(key, node.type, "state", 0, tuple(range(len(shape)))))
        place = ArrayPlace(shape, strides_of(shape, range(len(shape))), node.type.numpy_dtype.name, f"state:{key}")
        self.values[node] = StoredValue(name, place)
        return self.values[node]

    def _part(self, node: Node) -> StoredValue:
        """A value that lies inside of a concat."""
        home = self.plan.homes[node]
        assert home.parent is not None
        outer = self.value(home.parent)
        operand = next(x for x in home.parent.inputs if node is below_reshapes(x))
        axis = home.parent.attrs["axis"]
        stop = home.start + int(operand.shape[axis])
        lead = ":, " * axis
        text = f"{outer.name}[{lead}{home.start}:{stop}]"
        target = tuple(map(int, node.shape))
        found = part_of(node, home, outer.place.strides)
        if found is None:
            raise AssertionError(f"{node} does not lie in one piece inside of its concat")
        if operand is not node:
            text += f".reshape{target or '(())'}"
        name = self.fresh(f"{node.scope}_{kind_name(node)}" if node.scope else kind_name(node))
        self.bound.append(f"{name} = {text}")
        memory = f"{outer.place.memory}{(home.start,)}" if outer.place.memory and home.start else outer.place.memory
        self.values[node] = StoredValue(name, ArrayPlace(target, found[0], outer.place.dtype, memory))
        return self.values[node]

    def forced(self, node: Node) -> ArrayPlace | None:
        """The place of a result that is decided before its kernel is written, or None."""
        if self.plan.homes[node].space in ("state", "part"):
            return self.allocate(node, None).place
        order = self.plan.orders.get(node)
        if order is None:
            return None
        shape = tuple(map(int, node.shape))
        return ArrayPlace(shape, strides_of(shape, order), node.type.numpy_dtype.name, "")

    def kernel(self, kernel: Node) -> None:
        """Write a kernel and its launch."""
        plan = self.plan
        body: Graph = kernel.attrs["body"]
        schedule: Schedule = kernel.attrs["schedule"]
        kind = kind_of(body)
        operands = [self.value(x) for x in kernel.inputs]
        items = {n.attrs["index"]: n for n in self.graph.users[kernel]}
        results = [self.forced(items[k]) if k in items else None for k in range(len(body.outputs))]
        written = write_kernel(
            kind, body, schedule, [v.place for v in operands], results, threads=plan.threads, inner=plan.inner
        )
        outs = [(self.values.get(items[k]) or self.allocate(items[k], place)) for k, place in enumerate(written.places)]
        if written.key not in self.functions:
            self.functions[written.key] = (self.fresh(f"{kind}_{len(self.functions) + 1}"), written, kind)
        function = self.functions[written.key][0]
        totals, scratch = [], aligned(written.scratch) if written.totals else written.scratch
        for k in written.totals if schedule.split else ():
            totals.append((k, scratch))
            size = outs[k].place
            scratch += aligned(int(np.prod(size.shape, dtype=np.int64)) * SIZES[size.dtype])
        ranges = _ranges(schedule, plan.threads if schedule.split else 1) if schedule.length else ((),)
        now = plan.kernels.index(kernel)
        self.scratch[kernel] = [self.block(scratch, now, now) for _ in ranges]
        bases = [_offset(block) for block in self.scratch[kernel]]
        extra = ""
        if schedule.length:
            extra += f", tiles={ranges}"
        if totals:
            extra += f", totals={tuple(totals)}"
        layers, places = origins(body)
        note = ", ".join(layers) or kind
        if places:
            note += f"  ({', '.join(places)})"
        text = (
            f"launch(pool, {function}, {_tuple(v.name for v in operands)}, {_tuple(v.name for v in outs)}, "
            f"arena, {function}_scratch, {_tuple(bases)}{extra})"
        )
        phase = "prepare" if kernel in plan.prepare else "step"
        self.bound.append(f"# {printable(note)}")
        self.bound.append(f"{phase}.append({text})")
        moved = sum(x.type.nbytes for x in kernel.inputs) + sum(n.type.nbytes for n in body.outputs.values())
        self.launches.append(
            Launch(
                function,
                (*(v.name for v in operands), *(v.name for v in outs)),
                layers,
                places,
                kernel.op.flops(kernel.result, **kernel.attrs),
                moved,
                "prepare" if phase == "prepare" else "step",
            )
        )


def _offset(block: int) -> str:
    """What stands in the text for the offset of a piece of the arena until it is packed."""
    return f"\0{block}\0"  # which no name of a layer or file has in it


def _tuple(names: object) -> str:
    found = list(names)  # type: ignore[call-overload]
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
    module.names.taken |= {
        "array",
        "launch",
        "draw",
        "round_bf16",
        "np",
        "partial",
        "inputs",
        "state",
        "pool",
        "arena",
        "step",
        "prepare",
        "outputs",
        "bind",
        "as_strided",
    }
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
