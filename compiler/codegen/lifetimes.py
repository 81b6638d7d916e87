"""Liveness and alias analysis of a program's memory: its launches are run on what each piece holds, without numbers.

A step is run twice, after what is prepared once, so that what must last from step to step is seen to. Proved are: a
value is read after its launch has written it, and before anything is written over it; what is prepared depends on
nothing that changes, and stays; a next value of state lies where the state does and is written after the last reader
of the old one; outputs are there at the end; the operands of a concat lie inside of it and apart; a view lies inside of
what it is a view of; results of a kernel lie apart from each other, from scratch, and from operands but the state that
is updated in place. Where threads go on without waiting for each other, launches that may run at once write nothing
that another of them reads or writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

from .. import ops
from ..fault import Unproved
from ..graph import Graph, Node
from ..loops.intervals import meet
from ..plan import Plan
from .names import kind_name, origins
from .strides import Ints, part_of, strides_of, viewed

ARENA = "arena"


@dataclass(frozen=True)
class Region:
    """Elements of `item` bytes in a memory, from a byte on; strides are counted in elements."""

    memory: str
    start: int
    item: int
    shape: Ints
    strides: Ints

    @cached_property
    def stop(self) -> int:
        """The byte behind its last one."""
        if 0 in self.shape:
            return self.start
        last = sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return self.start + (last + 1) * self.item

    def meets(self, other: Region) -> bool:
        """Whether both may have a byte in common.

        They have none if their bytes' numbers leave different remainders by some stride, as parts of a concat do.
        """
        if self.memory != other.memory or self.stop <= other.start or other.stop <= self.start:
            return False
        if self.start == self.stop or other.start == other.stop:
            return False
        base = min(self.start, other.start)
        return all(meet(self._digits(base, s), other._digits(base, s)) for s in self._radix | other._radix)

    def inside(self, other: Region) -> bool:
        """Whether it lies within another one, by each of whose strides its bytes leave the remainders of that."""
        if self.start == self.stop:
            return True
        if self.memory != other.memory or self.start < other.start or other.stop < self.stop:
            return False
        base = other.start
        pairs = ((self._digits(base, s), other._digits(base, s)) for s in other._radix)
        return all(low <= mine[0] and mine[1] <= high for mine, (low, high) in pairs)

    @cached_property
    def _radix(self) -> frozenset[int]:
        return frozenset(s * self.item for n, s in zip(self.shape, self.strides, strict=True) if n > 1 and s > 0)

    def _digits(self, base: int, by: int) -> tuple[int, int]:
        """The least and the greatest remainder by a number of bytes that its bytes leave, counted from a base."""
        low = (self.start - base) % by
        steps = ((n - 1) * s * self.item for n, s in zip(self.shape, self.strides, strict=True) if s * self.item % by)
        high = low + sum(steps) + self.item - 1
        return (low, high) if high < by else (0, by - 1)


def lifetimes(
    graph: Graph,
    plan: Plan,
    regions: Mapping[Node, Region],
    scratch: Mapping[Node, Sequence[Region]],
    arena: int,
    loose: Collection[Node] = (),
) -> int:
    """Prove that the launches of a graph of kernels find in memory what they read; the reads that were looked at.

    regions: of the values that the target has given a place of their own. scratch: of kernels, while they run. arena:
    its bytes. loose: kernels behind which threads do not wait for each other. Raises `Unproved`.
    """
    checked = _Lifetimes(graph, plan, dict(regions), scratch, arena, loose)
    checked.places()
    return checked.run()


@dataclass
class _Lifetimes:
    graph: Graph
    plan: Plan
    regions: dict[Node, Region]
    scratch: Mapping[Node, Sequence[Region]]
    arena: int
    loose: Collection[Node]

    def __post_init__(self) -> None:
        graph, plan = self.graph, self.plan
        self.items: dict[Node, list[Node]] = {k: [] for k in plan.kernels}
        for node in graph.order:
            if node.op is ops.item and node.type.count:
                self.items[node.inputs[0]].append(node)
        self.sources = [*graph.inputs.values(), *graph.params.values()]
        for node in graph.order:
            if node not in self.regions and node.op is not ops.kernel:
                self.regions[node] = self._region(node)
        # The bytes of each memory; a target may hold narrow types in wider ones.
        self.sizes = {ARENA: self.arena}
        for node in self.sources:
            region = self.regions[node]
            self.sizes[region.memory] = node.type.count * region.item
        # The values that were written, with what may have been written over parts of them since.
        self.there: dict[Node, list[tuple[Region, Node]]] = {}
        # First and last byte of the values in each memory; and for a region which of them it may lie over.
        self.meeting: dict[Region, list[Node]] = {}
        self.spans: dict[str, list[tuple[int, int, Node]]] = {}
        for node in (*self.sources, *(item for items in self.items.values() for item in items)):
            region = self.regions[node]
            self.spans.setdefault(region.memory, []).append((region.start, region.stop, node))
        self.reads = 0
        # Launches that some threads may still be at.
        self.running: list[Node] = []

    # Where values lie.

    def _region(self, node: Node) -> Region:
        """Where a value lies that the target gave no place of its own."""
        home = self.plan.homes.get(node)
        shape, item = tuple(map(int, node.shape)), node.type.numpy_dtype.itemsize
        if node.op in (ops.input_, ops.param) or (home is not None and home.space == "state"):
            name = home.name if home is not None else node.attrs["name"]
            space = "input" if node.op is ops.input_ else "state"
            return Region(f"{space}:{name}", 0, item, shape, strides_of(shape, range(len(shape))))
        if home is not None and home.parent is not None:
            below = self._region_of(home.parent)
            found = part_of(node, home, below.strides)
        else:
            below = self._region_of(node.inputs[0])
            found = viewed(node, below.shape, below.strides)
        if found is None:
            self._fail("overlap", f"{self._name(node)} is no part of what it lies in", node)
        return Region(below.memory, below.start + found[1] * below.item, below.item, shape, found[0])

    def _region_of(self, node: Node) -> Region:
        if node not in self.regions:
            self.regions[node] = self._region(node)
        return self.regions[node]

    def places(self) -> None:
        """What holds at any time: regions within memories and what they are parts of, parts of one whole apart."""
        for node, region in self.regions.items():
            if region.start < 0 or region.stop > self.sizes.get(region.memory, region.stop):
                self._fail("bounds", f"{self._name(node)} lies beyond the end of {region.memory}", node)
            if node.op in (ops.reshape, ops.slice_, ops.transpose) and not region.inside(self.regions[node.inputs[0]]):
                below = self._name(node.inputs[0])
                self._fail("overlap", f"a view of {below} does not lie inside of it", node)
            if node.op is ops.concat:
                self._parts(node, region)
        for name, node in self.graph.updates.items():
            region, count = self.regions[node], node.type.count
            if count and (region.memory, region.start, region.stop) != (f"state:{name}", 0, count * region.item):
                self._fail("overlap", f"the next value of the state {name} does not lie where the state does", node)
        for kernel, items in self.items.items():
            self._operands(kernel, items)

    def _parts(self, whole: Node, region: Region) -> None:
        for part in whole.inputs:
            if not self.regions[part].inside(region):
                self._fail("overlap", f"{self._name(part)} does not lie inside of {self._name(whole)}", part)
        self._apart([(self.regions[part], part) for part in whole.inputs])

    def _operands(self, kernel: Node, items: Sequence[Node]) -> None:
        """Programs of a kernel run in any order: what it writes is no other result, nor what it reads elsewhere."""
        scratch = [(region, kernel) for region in self.scratch.get(kernel, ())]
        self._apart([*((self.regions[node], node) for node in items), *scratch])
        for node in items:
            mine = self.regions[node]
            for x in kernel.inputs:
                read = self.regions[x]
                in_place = mine.memory != ARENA and (mine.start, mine.stop) == (read.start, read.stop)
                if mine.meets(read) and not in_place:
                    told = f"{self._name(node)} lies over {self._name(x)}, which the kernel reads"
                    self._fail("overlap", told, kernel)
        for region, _ in scratch:
            if region.stop > self.sizes[ARENA]:
                self._fail("bounds", "its scratch lies beyond the end of the arena", kernel)
            for x in kernel.inputs:
                if region.meets(self.regions[x]):
                    self._fail("overlap", f"its scratch lies over {self._name(x)}, which it reads", kernel)

    def _apart(self, found: Sequence[tuple[Region, Node]]) -> None:
        ordered = sorted(found, key=lambda pair: (pair[0].memory, pair[0].start))
        for i, (region, node) in enumerate(ordered):
            for other, beside in ordered[i + 1 :]:
                if other.memory != region.memory or other.start >= region.stop:
                    break
                if region.meets(other):
                    self._fail("overlap", f"{self._name(node)} and {self._name(beside)} lie over each other", beside)

    # What they hold.

    def run(self) -> int:
        """The launches in their order: once those that prepare, then two steps."""
        prepared = [kernel for kernel in self.plan.kernels if kernel in self.plan.prepare]
        step = [kernel for kernel in self.plan.kernels if kernel not in self.plan.prepare]
        for kernel in prepared:
            self._unchanging(kernel)
        kept = [node for name, node in self.graph.params.items() if name not in self.graph.updates]
        results = (*self.graph.outputs.values(), *self.graph.updates.values(), *kept)
        after = [below for value in results for below in self._stored(value)]
        self._begin()
        for kernel in prepared:
            self._launch(kernel)
        for _ in range(2):
            self._begin()
            for kernel in step:
                self._launch(kernel)
            for node, region in after:
                self._read(node, region, None)
        return self.reads

    def _begin(self) -> None:
        """Inputs are fed, the state is what the last step made of it; of results there is what was prepared."""
        lasting = {
            node: over for node, over in self.there.items() if node.inputs and node.inputs[0] in self.plan.prepare
        }
        self.there = lasting | {node: [] for node in self.sources}
        self.running.clear()

    def _stored(self, x: Node) -> Iterator[tuple[Node, Region]]:
        """The items, inputs and states that a value is a view of, each with the part of it that is meant."""
        below, region = x, self.regions[x]
        while below.op in (ops.reshape, ops.slice_, ops.transpose):
            below = below.inputs[0]
        if below.op is ops.concat:
            for part in below.inputs:
                yield from self._stored(part)
        else:
            yield below, region

    def _launch(self, kernel: Node) -> None:
        for x in kernel.inputs:
            for node, region in self._stored(x):
                self._read(node, region, kernel)
        for region in self.scratch.get(kernel, ()):
            self._over(region, kernel)
        for node in self.items[kernel]:
            self._over(self.regions[node], kernel)
        for node in self.items[kernel]:
            self.there[node] = []
        for other in self.running:
            self._at_once(other, kernel)
        if kernel not in self.loose:
            self.running.clear()
        else:
            self.running.append(kernel)

    def _at_once(self, one: Node, other: Node) -> None:
        """Two launches that run at once do not touch what the other one writes."""
        for writer, beside in ((one, other), (other, one)):
            touched = [(self.regions[x], x) for x in (*beside.inputs, *self.items[beside])]
            touched += [(region, beside) for region in self.scratch.get(beside, ())]
            writes = [*((self.regions[x], x) for x in self.items[writer])]
            writes += [(region, writer) for region in self.scratch.get(writer, ())]
            for region, node in writes:
                for near, x in touched:
                    if region.meets(near):
                        by = ", ".join(origins(writer.attrs["body"])[0]) or "the solver"
                        told = f"{self._name(x)} meets {self._name(node)}, which the kernel of {by} writes at once"
                        self._fail("order", f"{told}: threads do not wait between them", beside)

    def _over(self, region: Region, writer: Node) -> None:
        if region not in self.meeting:
            near, start, stop = self.spans.get(region.memory, ()), region.start, region.stop
            self.meeting[region] = [node for low, high, node in near if low < stop and start < high]
        for node in self.meeting[region]:
            if node in self.there:
                self.there[node].append((region, writer))

    def _read(self, node: Node, region: Region, reader: Node | None) -> None:
        """reader: None at the end of a step."""
        self.reads += 1
        then = "at the end of the step" if reader is None else "when it reads that"
        if node not in self.there and node.type.count:
            self._fail("order", f"nobody has written {self._name(node)} {then}", reader or node)
        for other, writer in self.there.get(node, ()):
            if other.meets(region):
                by = ", ".join(origins(writer.attrs["body"])[0]) or "the solver"
                self._fail("order", f"{self._name(node)} is overwritten {then}, by the kernel of {by}", reader or node)

    def _unchanging(self, kernel: Node) -> None:
        """What is prepared once must not depend on what a step is fed, writes or draws."""
        for x in kernel.inputs:
            for node, _ in self._stored(x):
                changes = node.op is ops.input_ or (node.op is ops.param and node.attrs["name"] in self.graph.updates)
                if changes or (node.op is ops.item and node.inputs[0] not in self.plan.prepare):
                    self._fail("order", f"it is prepared once, but {self._name(node)} changes in each step", kernel)
        if any(node.op is ops.random for node in kernel.attrs["body"].order):
            self._fail("order", "it is prepared once, but draws random numbers", kernel)

    # Words.

    @staticmethod
    def _name(node: Node) -> str:
        if node.op is ops.kernel:
            return "its scratch"
        if node.op in (ops.input_, ops.param):
            return f"the {'input' if node.op is ops.input_ else 'state'} {node.attrs['name']}"
        what = kind_name(node) if node.op in (ops.item, ops.concat) else node.op.name
        return f"the result `{what}` of {node.scope}" if node.scope else f"the result `{what}`"

    @staticmethod
    def _fail(kind: str, told: str, of: Node) -> NoReturn:
        while of.op is not ops.kernel and of.inputs:
            of = of.inputs[0]
        layers, places = origins(of.attrs["body"]) if of.op is ops.kernel else ((), ())
        raise Unproved(kind, told, layers, places)
