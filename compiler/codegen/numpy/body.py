"""The text of one kernel: a Python function that runs a body of nodes over tiles of its operands.

`KernelText` holds what all spellings share: lines before and inside the loop over tiles, scratch arrays with their
lifetimes, and the views of operands. The spellings of the ops stand in the modules beside it, registered in `SPELL`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ... import ops
from ...graph import Graph, Node
from ...kernel import TOTAL, Schedule, narrow, operand_number, read_in_windows, widens
from ...types import Literal
from .ref import SIZES, ArrayPlace, Ints, Ref, order_of, place_of, reshaped, strides_of


@dataclass
class Slot:
    """A scratch array: live from line `first` to line `last` of the loop; `kept`: across tiles."""

    name: str
    shape: Ints
    order: Ints
    dtype: str
    tiled: int | None
    first: int
    last: int
    kept: bool
    offset: int = 0

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * SIZES[self.dtype]


NAME = re.compile(r"\b[tvxy][0-9]+\b")  # of an array in a kernel
# By op; the op of a package is spelled as its family.
SPELL: dict[str, Callable[[KernelText, Node], None]] = {}


def spells(*names: str) -> Callable[[Callable[[KernelText, Node], None]], Callable[[KernelText, Node], None]]:
    """Enter a spelling for ops."""

    def enter(function: Callable[[KernelText, Node], None]) -> Callable[[KernelText, Node], None]:
        for name in names:
            SPELL[name] = function
        return function

    return enter


def stored_dtype(node: Node) -> str:
    """The numpy type in which a node's values are held."""
    return "uint8" if narrow(node) else node.type.numpy_dtype.name


@dataclass
class KernelText:
    """A kernel being written. results[k] is None where the order of axes is free: `places` has it afterwards."""

    graph: Graph
    schedule: Schedule
    operands: Sequence[ArrayPlace]
    results: Sequence[ArrayPlace | None]
    inner: bool
    single: bool
    before: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    after_loop: list[str] = field(default_factory=list)
    slots: dict[str, Slot] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    values: dict[Node, Ref] = field(default_factory=dict)
    named: dict[str, Ref] = field(default_factory=dict)
    memo: dict[object, Ref] = field(default_factory=dict)
    # Which intermediate value lies in the memory of a result that is still to come.
    holders: dict[Node, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        order = self.graph.order
        self.axes = dict(zip(order, self.schedule.axes, strict=True))
        self.windows = read_in_windows(order)
        self.tile = self.schedule.tile if self.schedule.length else 0
        self.ragged = bool(self.tile and self.schedule.length % self.tile)
        self.places: list[ArrayPlace | None] = list(self.results)
        self.result_of: dict[Node, list[int]] = {}
        for k, node in enumerate(self.graph.outputs.values()):
            self.result_of.setdefault(node, []).append(k)
        self._names = 0
        self._last_reader()

    def _last_reader(self) -> None:
        """For each node the last computed node that reads it, for taking over its memory."""
        self.position = {n: i for i, n in enumerate(self.graph.order)}
        self.last: dict[Node, int] = {}
        for node in reversed(self.graph.order):
            users = self.graph.users[node]
            self.last[node] = max(map(self.last_read, users), default=0)

    def last_read(self, user: Node) -> int:
        """When `user` reads its operands for the last time: where it is read through, when its own readers do."""
        return self.position[user] if self.computed(user) and not self.skipped(user) else self.last[user]

    @property
    def repeats(self) -> bool:
        """Whether a thread may run several tiles, so that what is written once must be kept for all of them."""
        return bool(self.tile) and not self.single

    def computed(self, node: Node) -> bool:
        """Whether a node is written somewhere, rather than read through."""
        return node in self.result_of or not (inlined(node) or widens(node) or node in self.windows)

    # Lines and names.

    def name(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def put(self, text: str, once: bool | None = None) -> None:
        """A line of code. once: whether it stands before the loop; by itself, where all that it names is whole."""
        if once is None:
            used = self.used(text)
            once = bool(used) and all(ref.whole for ref in used)
        (self.before if once else self.inside).append(text)

    def used(self, text: str) -> list[Ref]:
        """The arrays that a line names."""
        return [self.named[name] for name in NAME.findall(text) if name in self.named]

    def enter(self, ref: Ref) -> Ref:
        """An array under the name that is its text."""
        self.named[ref.text] = ref
        return ref

    def view(self, ref: Ref, text: str, shape: Sequence[int], strides: Sequence[int], tiled: int | None) -> Ref:
        """A view with a name of its own, made before the loop where it is the same in each tile."""
        key = (ref.slot, text)
        if key in self.memo and self.memo[key].tiled == tiled:
            return self.memo[key]
        # The length of a ragged tile is only known inside of the loop.
        fixed = not (self.ragged and (tiled is not None or not ref.whole))
        name = self.name("v")
        self.put(f"{name} = {text}", once=fixed and (ref.whole or ref.slot is not None or not self.tile))
        whole = ref.whole and tiled is None
        self.memo[key] = self.enter(Ref(name, tuple(shape), tuple(strides), ref.dtype, tiled, whole, ref.slot))
        return self.memo[key]

    def scratch(
        self,
        shape: Sequence[int],
        dtype: str,
        order: Sequence[int] | None = None,
        *,
        tiled: int | None = None,
        kept: bool = False,
        whole: bool = False,
    ) -> Ref:
        """A new scratch array."""
        shape = tuple(map(int, shape))
        order = tuple(range(len(shape))) if order is None else tuple(order)
        name = self.name("t")
        here = len(self.inside)
        self.slots[name] = Slot(name, shape, order, dtype, tiled, here, here, kept or whole)
        return self.enter(Ref(name, shape, strides_of(shape, order), dtype, tiled, whole, name))

    def room(self, node: Node, order: Sequence[int] | None = None, dtype: str = "") -> Ref:
        """A new scratch array for the tile of a node."""
        return self.scratch(self.tile_shape(node), dtype or stored_dtype(node), order, tiled=self.tiled_axis(node))

    def like(self, ref: Ref, dtype: str = "") -> Ref:
        """A new scratch array in the form of another."""
        order = order_of(ref.shape, ref.strides)
        return self.scratch(ref.shape, dtype or ref.dtype, order, tiled=ref.tiled, whole=ref.whole)

    def reshaped(self, shape: Ints, strides: Ints, target: Ints, tiled: int | None, at: int | None) -> Ints | None:
        """The strides of a reshape of a tile that is a view, also where a ragged one is shorter; else None.

        tiled, at: the tiled axis before and after, which may be joined with others.
        """
        found = reshaped(shape, strides, target)
        if found is None or tiled is None or not self.ragged:
            return found
        shorter = [n - 1 if i == tiled else n for i, n in enumerate(shape)]
        aim = [n - n // self.tile if i == at else n for i, n in enumerate(target)]
        return None if reshaped(shorter, strides, aim) is None else found

    def dims(self, shape: Sequence[int], tiled: int | None) -> str:
        """A shape as text; in a ragged kernel the tiled axis is as long as the tile at hand."""
        parts = ["n" if i == tiled and self.ragged else str(int(d)) for i, d in enumerate(shape)]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    # Values.

    def value(self, node: Node) -> Ref:
        """How to read a node; what is read through is spelled at its first reader."""
        if node not in self.values:
            if self.computed(node):
                raise AssertionError(f"{node.op.name} is read before it is written")
            self.read_through(node)
        return self.values[node]

    def read_through(self, node: Node) -> None:
        if widens(node):
            self.values[node] = self.widened(self.value(node.inputs[0]))
        else:
            self.spell(node)

    def widened(self, ref: Ref) -> Ref:
        """A ref as float32, in which numbers of bf16 are held anyhow."""
        if ref.dtype == "float32" or ref.number:
            return ref
        made = self.like(ref, "float32")
        self.put(f"np.copyto({made}, {ref})")
        return made

    def cut(self, whole: Ref, axis: int) -> Ref:
        """The tile of something whole."""
        name = self.name("v")
        lead = ":, " * axis
        self.put(f"{name} = {whole}[{lead}i:j]", once=False)
        shape = tuple(self.tile if i == axis else n for i, n in enumerate(whole.shape))
        return self.enter(Ref(name, shape, whole.strides, whole.dtype, axis, False, whole.slot))

    def number(self, text: str, rank: int, dtype: str) -> Ref:
        """A number, which stands for an array of some rank."""
        return Ref(text, (1,) * rank, (0,) * rank, dtype, None, self.tile > 0, number=True)

    def tile_of(self, whole: Ref, node: Node) -> Ref:
        """The tile of something whole that stands for a node; an axis of size 1 stays."""
        axis = self.tiled_axis(node)
        return whole if axis is None or whole.shape[axis] == 1 != node.shape[axis] else self.cut(whole, axis)

    def tile_shape(self, node: Node) -> Ints:
        """The shape of a node within a tile."""
        axis = self.axes[node]
        return tuple(self.tile if i == axis else int(n) for i, n in enumerate(node.shape))

    def tiled_axis(self, node: Node) -> int | None:
        return None if self.axes[node] == TOTAL else self.axes[node]

    # Destinations.

    def result(self, node: Node, order: Sequence[int]) -> Ref | None:
        """The tile of the buffer in which a node ends, or None if it is only used inside.

        order: that of the axes where the buffer's is free.
        """
        if node not in self.result_of:
            return None
        k = self.result_of[node][0]
        place = self.places[k]
        if place is None:
            place = self.places[k] = place_of(node, stored_dtype(node), order)
        for other in self.result_of[node][1:]:
            self.places[other] = self.places[other] or place
        return self.result_tile(k, place, node)

    def target(
        self, node: Node, order: Sequence[int], *, fits: Callable[[Ref], object] = bool, ahead: bool = False
    ) -> Ref:
        """Where a node is computed: its result, or scratch where that does not fit or is read later in the tile.

        ahead: also the result of elementwise nodes after it.
        """
        made = self.result(node, order) or (self.ahead(node, order) if ahead else None)
        if made is None or self.overwrites(node) or not fits(made):
            made = self.room(node, order)
        return made

    def result_tile(self, k: int, place: ArrayPlace, node: Node) -> Ref:
        """The tile of a result, always under the same name."""
        key = ("result", k)
        if key not in self.memo:
            self.memo[key] = self.tile_of(self.enter(Ref(f"y{k}", place.shape, place.strides, place.dtype)), node)
        return self.memo[key]

    def ahead(self, node: Node, order: Sequence[int]) -> Ref | None:
        """The tile of the result in which elementwise nodes after this one end, if it can be computed there at once.

        Each of them must be the last reader of the one before, so that nothing is needed of what they overwrite.
        """
        end = node
        while end not in self.result_of:
            users = self.graph.users[end]
            after = self.graph.order[self.last[end]]
            if after not in users or after.op.family != "pointwise" or not self.computed(after):
                return None
            if after.op.name in ("pow", "where") or self.skipped(end) or self.skipped(after):
                return None
            if any(u is not after and self.last_read(u) >= self.position[after] for u in users):
                return None
            end = after
        if (end.shape, stored_dtype(end), self.axes[end]) != (node.shape, stored_dtype(node), self.axes[node]):
            return None
        holder = self.holders.get(end)
        if holder is not None and (holder not in node.inputs or self.last[holder] > self.position[node]):
            return None
        if self.overwrites(end, self.position[node]):
            return None
        self.holders[end] = node
        return self.result(end, order)

    def overwrites(self, node: Node, here: int | None = None) -> bool:
        """Whether writing this result now would destroy an operand that is read later in the tile."""
        here = self.position[node] if here is None else here
        for k in self.result_of.get(node, ()):
            place = self.places[k]
            if place is None or not place.memory:
                continue
            for x in self.graph.order:
                if x.op is not ops.input_:
                    continue
                read = self.operands[operand_number(x)]
                if (read.memory, read.start) != (place.memory, place.start):
                    continue
                if self.last[x] > here:
                    return True
        return False

    def finish(self, node: Node, ref: Ref) -> None:
        """Enter a computed value; copy it to the results that it has not been written to."""
        self.values[node] = ref
        for k in self.result_of.get(node, ()):
            if ref is self.memo.get(("result", k)):
                continue
            place = self.places[k]
            if place is None:
                order = order_of(ref.shape, ref.strides) if ref.count > 1 else None
                place = self.places[k] = place_of(node, stored_dtype(node), order)
            target = self.result_tile(k, place, node)
            late = self.overwrites(node)
            line = f"np.copyto({target}, {ref}{cast(ref, target)})"
            if late:
                self.after.append(line)
                if ref.slot is not None:
                    self.slots[ref.slot].kept = True
            else:
                self.put(line)

    def write(self) -> None:
        """Spell all computed nodes, in order."""
        for node in self.graph.order:
            if node in self.values:
                continue
            if not inlined(node) and self.computed(node) and not self.skipped(node):
                self.spell(node)
            elif node in self.result_of:
                self.read_through(node)
                self.finish(node, self.values[node])

    def skipped(self, node: Node) -> bool:
        """What its readers spell with it: a negation that is only added, a choice of an element that is only summed."""
        users = self.graph.users[node]
        if node in self.result_of or node in self.windows:
            return False
        if node.op is ops.neg:
            return all(u.op is ops.add and u.inputs[0] is not u.inputs[1] for u in users) and not any(
                x.op is ops.neg for u in users for x in u.inputs if x is not node
            )
        return node.op is ops.where and all(u.op is ops.sum_ for u in users) and picks(node)

    def spell(self, node: Node) -> None:
        (SPELL.get(node.op.name) or SPELL[node.op.family])(self, node)


def inlined(node: Node) -> bool:
    """Whether an op is no computation, so that readers read through it."""
    return node.op.family == "movement" or node.op.name in ("input", "const", "iota", "surrogate")


def picks(node: Node) -> bool:
    """Whether a choice keeps the elements at numbers that are looked for, so few, and is 0 elsewhere."""

    def below(x: Node) -> Node:
        while x.op in (ops.broadcast, ops.reshape, ops.cast):
            x = x.inputs[0]
        return x

    condition, kept, other = node.inputs
    rest = below(other)
    if rest.op is not ops.const or isinstance(rest.attrs["value"], Literal) or rest.attrs["value"] != 0:
        return False
    return kept.type.is_float and condition.op is ops.equal and any(below(x).op is ops.iota for x in condition.inputs)


def cast(ref: Ref, target: Ref) -> str:
    """The argument that lets `copyto` change the type."""
    return "" if ref.number or ref.dtype == target.dtype else ', casting="unsafe"'
