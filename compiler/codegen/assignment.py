"""Buffer assignment: in which memory each value of a graph of kernels is, whatever a target keeps of that.

Where a value belongs says the plan; what it is a view or a part of follows from the graph. How memory is entered, and
how a kernel is written, is a target's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, Literal, Protocol, TypeVar

from .. import ops
from ..graph import Graph, Node
from ..plan import Begins, Plan
from ..program import Launch
from ..types import SIZES
from .names import Names, origins
from .strides import Ints, part_of, viewed


class Strided(Protocol):
    """What a target keeps of a value has a shape and strides, counted in elements."""

    @property
    def shape(self) -> Ints: ...

    @property
    def strides(self) -> Ints: ...


Held = TypeVar("Held", bound=Strided)


class Assignment(ABC, Generic[Held]):
    """The values and launches of a program so far. reserved: names that the module's text uses itself."""

    def __init__(self, graph: Graph, plan: Plan, reserved: Iterable[str]) -> None:
        self.graph, self.plan, self.names = graph, plan, Names(reserved)
        self.values: dict[Node, Held] = {}
        self.launches: list[Launch] = []
        # Pieces of the arena: their bytes, and the first and the last launch that needs them.
        self.blocks: list[tuple[int, int, int]] = []
        self.begins: dict[int, Begins] = {}

    @abstractmethod
    def kernel(self, kernel: Node) -> None:
        """Write a kernel's function, unless one like it is there, and its launch."""

    @abstractmethod
    def outside(self, node: Node, key: str, space: Literal["input", "state"]) -> Held:
        """Enter an input or a state, which lies row-major in memory of its own."""

    @abstractmethod
    def inside(self, node: Node, outer: Held, strides: Ints, first: int) -> Held:
        """Enter a value that lies `first` elements into another."""

    @abstractmethod
    def arena(self, node: Node) -> Held:
        """Enter a value that has a piece of the arena."""

    def write(self) -> None:
        """Write all kernels, in the order of the plan."""
        for kernel in self.plan.kernels:
            self.kernel(kernel)
        for node in (*self.graph.outputs.values(), *self.graph.updates.values()):
            self.value(node)

    def value(self, node: Node) -> Held:
        """A value that is there already: fed, state, written before, or a view of one of these."""
        if node in self.values:
            return self.values[node]
        if node.op in (ops.input_, ops.param):
            found = self.outside(node, str(node.attrs["name"]), "input" if node.op is ops.input_ else "state")
        elif node.op is ops.concat:
            found = self.allocate(node)
        elif node.op in (ops.reshape, ops.slice_, ops.transpose):
            below = self.value(node.inputs[0])
            found = self._inside(node, below, viewed(node, below.shape, below.strides))
        else:
            raise AssertionError(f"{node.op.name} is read before it is written")
        self.values[node] = found
        return found

    def allocate(self, node: Node) -> Held:
        """The memory of an item or a concat."""
        home = self.plan.homes[node]
        if home.space == "state":
            source = self.graph.params.get(home.name)
            found = self.outside(node, home.name, "state") if source is None else self.value(source)
        elif home.parent is not None:
            outer = self.value(home.parent)
            found = self._inside(node, outer, part_of(node, home, outer.strides))
        else:
            found = self.arena(node)
        self.values[node] = found
        return found

    def _inside(self, node: Node, outer: Held, found: tuple[Ints, int] | None) -> Held:
        if found is None:
            raise AssertionError(f"{node} does not lie in one piece inside of what it is a part or a view of")
        return self.inside(node, outer, *found)

    def block(self, size: int, first: int, last: int) -> int:
        """A piece of the arena that is needed during some launches."""
        self.blocks.append((size, first, last))
        return len(self.blocks) - 1

    def held(self, node: Node, size: int) -> int:
        """The piece of the arena of a value, of so many bytes; its parts may be needed later than others."""
        block = self.block(size, *self.plan.lives[node])
        if node in self.plan.begins:
            self.begins[block] = tuple((start * SIZES[node.dtype], at) for start, at in self.plan.begins[node])
        return block

    def part_name(self, node: Node, base: str, start: int) -> str:
        """What a part of a flat state, from a byte on, is called where a kernel reads it; nothing if it is unknown."""
        read = any(user.op is ops.kernel for user in self.graph.users[node])
        return self.plan.parts.get((base, start, node.type.nbytes), "") if read else ""

    def launch(
        self, kernel: Node, function: str, arguments: Iterable[str], traffic: int, grid: Ints = (), key: str = ""
    ) -> None:
        """Enter a launch. See `Launch`."""
        flops = kernel.op.flops(kernel.result, **kernel.attrs)
        phase: Literal["prepare", "step"] = "prepare" if kernel in self.plan.prepare else "step"
        of = origins(kernel.attrs["body"])
        self.launches.append(Launch(function, tuple(arguments), *of, flops, traffic, phase, grid, key))
