"""The evaluator: it writes the statements that compute a value of a kernel's body at an index.

A nest binds loop variables to names in the text; then every value is computed at an index over them. Movement ops only
change the index, pointwise ops compute their operands at the same one, and an operand of the kernel is a masked load.
Statements that do not depend on a loop are written in front of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from ... import ops
from ...graph import Graph, Node
from ...kernel import operand_number
from ...loops.view import Expr, Guard, Index, Var, flat, pull, pull_concat
from ...types import Literal
from .dialect import Dialect
from .place import ATOM, PRODUCT, SUM, Condition, LoopVariable, MemRef, Number, Spread, Value
from .prove import Proof
from .statements import Statements
from .traffic import values_of

# Longer expressions get a name.
LONGEST = 90
LONGEST_ADDRESS = 70
# What was read through a pointer is called after it: x0 through in0, c0 through const0.
LOADED = re.compile(r"(in|const)(?=[0-9])")
# (node, index, conditions under which it is needed, what the reader wants outside of them)
Wanted = tuple[Node, Index, tuple[Condition, ...], "Number | None"]


class Body(Statements):
    """The statements of one kernel in a language.

    sizes: the names of the dimensions of its block; none where the language computes one element at a time.
    """

    def __init__(
        self,
        graph: Graph,
        operands: Sequence[MemRef],
        results: Sequence[MemRef],
        dialect: Dialect,
        sizes: Sequence[str] = (),
    ) -> None:
        super().__init__(dialect, sizes)
        self.graph = graph
        self.operands = tuple(operands)
        self.results = tuple(results)
        # The places that were read, or (True) written.
        self.used: dict[MemRef, bool] = {}
        self.constants: dict[Literal, MemRef] = {}
        # Names of places whose elements a program reads again soon: they are kept in the cache of its multiprocessor,
        # past which asynchronous copies go else.
        self.again: frozenset[str] = frozenset()
        self.proof = Proof(graph, self)
        self._uses: dict[Node, int] = {}
        for node in graph.order:
            for x in node.inputs:
                self._uses[x] = self._uses.get(x, 0) + 1
        for node in graph.outputs.values():
            self._uses[node] = self._uses.get(node, 0) + 1

    def bind(
        self, var: Var, text: str, axis: int | None = None, inside: str = "", spread: Spread | None = None
    ) -> Expr:
        """See `Statements.bind`."""
        e = super().bind(var, text, axis, inside, spread)
        self.proof.bound(var, self.bounds[var])
        return e

    # Values.

    def masked(self, node: Node, index: Index, fill: Number, conditions: Sequence[Condition]) -> Value:
        """A node's value at an index where all conditions hold, elsewhere `fill`."""
        if any(isinstance(c, Guard) and c.never for c in conditions):
            return self.number(fill, node.dtype)
        wanted = tuple(c for c in dict.fromkeys(conditions) if self.condition(c) is not None)
        value = self.at(node, index, wanted, fill)
        return self._filled(value, wanted, fill, node.dtype)

    def _filled(self, value: Value, conditions: Sequence[Condition], fill: Number, dtype: str) -> Value:
        """A value that is `fill` where a condition does not hold."""
        missing = [c for c in conditions if not (c in value.filled and value.fill == fill)]
        return self.choose(missing, value, self.number(fill, dtype)) if missing else value

    def choose(self, conditions: Sequence[Condition], value: Value, other: Value) -> Value:
        """`value` where all conditions hold, else `other`."""
        wanted = frozenset(conditions)
        mask = self._stricter(wanted, value) or self.mask(conditions)
        if mask is None:
            return value
        value, other = self.floating(value), self.floating(other)
        if value.number is not None and other.number is not None:
            value = self.typed(value)
        axes, level = mask.axes | value.axes | other.axes, max(mask.level, value.level, other.level)
        text = self.dialect.select(mask, self.outside(value, level), self.outside(other, level))
        return Value(text, value.dtype, axes, level, hint=value.hint)

    def _stricter(self, wanted: frozenset[Condition], value: Value) -> Value | None:
        """A mask that is there already and asks, beside these conditions, only that no variable is beyond its end."""
        for scope in reversed(self.scopes):
            for key, mask in scope.memo.items():
                if not (isinstance(key, tuple) and key[0] == "mask" and wanted < key[1] and mask.axes <= value.axes):
                    continue
                if all(isinstance(condition, Var) for condition in key[1] - wanted):
                    return mask
        return None

    def preset(self, node: Node, index: Index, value: Value) -> None:
        """This node at this index is already computed: a product's accumulator, a phase's result."""
        self.scopes[-1].memo[node, index] = value

    def at(self, node: Node, index: Index, conditions: tuple[Condition, ...] = (), fill: Number | None = None) -> Value:
        """A node's value at an index, right wherever the conditions hold; `Value.filled` says what it is elsewhere.

        Operands are computed before their readers, so that a long chain of nodes is no deep recursion.
        """
        stack: list[Wanted] = [(node, index, conditions, fill)]
        while True:
            wanted = stack[-1]
            found = self._known(wanted)
            if found is None:
                missing = [w for w in self._needs(wanted) if self._known(w) is None]
                if missing:
                    stack.extend(reversed(missing))
                    continue
                found = self.remember(wanted[:3], self._named(wanted[0], self._compute(wanted)))
            stack.pop()
            if not stack:
                return found

    def _known(self, wanted: Wanted) -> Value | None:
        return self.memo(wanted[:2]) or self.memo(wanted[:3])

    def _get(self, wanted: Wanted) -> Value:
        found = self._known(wanted)
        return self.at(*wanted) if found is None else found

    def _needs(self, wanted: Wanted) -> list[Wanted]:
        node, index, conditions, _ = wanted
        if node.op.family == "pointwise":
            operands = node.inputs[:1] if node.op is ops.surrogate else node.inputs
            return [(x, index, conditions, None) for x in operands]
        if node.op is ops.concat:
            parts = pull_concat(node, index)
            return [(x, i, (*conditions, guard), None) for x, i, guard in parts if not guard.never]
        if node.op.family == "movement":
            return self._pulled(wanted)
        return []

    @staticmethod
    def _pulled(wanted: Wanted) -> list[Wanted]:
        """The element of the operand that a movement op reads; none where it is outside of the operand everywhere."""
        node, index, conditions, fill = wanted
        pulled = pull(node, index)
        if any(guard.never for guard in pulled.guards):
            return []
        inner = pulled.fill if pulled.guards else fill
        return [(pulled.node, pulled.index, (*conditions, *pulled.guards), inner)]

    def _named(self, node: Node, value: Value) -> Value:
        """Under a name if it is used more than once, or long."""
        moved = node.op.family == "movement"
        if len(value.text) > LONGEST or (self._uses.get(node, 0) > 1 and not moved):
            return self.settle(value)
        return value

    def _compute(self, wanted: Wanted) -> Value:
        from .reductions import reduction

        node, index, conditions, fill = wanted
        family = node.op.family
        if family == "pointwise":
            values = [self._get(w) for w in self._needs(wanted)]
            return self.dialect.spell(self, node, values)
        if node.op is ops.input_:
            return self.load(self.operands[operand_number(node)], index, conditions, fill, node.dtype)
        if node.op is ops.const:
            return self._constant(node, index, conditions, fill)
        if node.op is ops.iota:
            axes = node.attrs["axes"]
            e = self.expr(flat(tuple(index[a] for a in axes), [node.shape[a] for a in axes]))
            return e if e.number is None and node.dtype == "i32" else self.cast(e, node.dtype)
        if node.op.name == "random":
            return self._random(node, index)
        if node.op is ops.gather:
            table, rows = node.inputs
            rank = len(rows.shape)
            row = self.row_of(rows, index[:rank], int(table.shape[0]), conditions)
            return self.at(table, (row, *index[rank:]), conditions)
        if node.op is ops.concat:
            return self._joined(wanted)
        if family == "reduce" or node.op is ops.unwindow:
            return reduction(self, node, index, conditions)
        if family == "movement":
            return self._moved(wanted)
        raise ValueError(f"{node.op.name} is not computed element by element")

    def _moved(self, wanted: Wanted) -> Value:
        needs = self._pulled(wanted)
        pulled = pull(wanted[0], wanted[1])
        if not needs:
            return self.number(pulled.fill, wanted[0].dtype)
        value = self._get(needs[0])
        if not pulled.guards:
            return value
        filled = value.filled if value.fill == pulled.fill else frozenset[Condition]()
        value = self._filled(value, pulled.guards, pulled.fill, wanted[0].dtype)
        return value.but(filled=filled | frozenset(pulled.guards), fill=pulled.fill)

    def _joined(self, wanted: Wanted) -> Value:
        """An element of a concat, from whichever operand it comes."""
        node, index, conditions, _ = wanted
        parts = [part for part in pull_concat(node, index) if not part[2].never]
        value = self.at(parts[-1][0], parts[-1][1], (*conditions, parts[-1][2]))
        for x, inner, guard in reversed(parts[:-1]):
            value = self.choose([guard], self.at(x, inner, (*conditions, guard)), value)
        return value.but(hint="joined")

    def _constant(self, node: Node, index: Index, conditions: tuple[Condition, ...], fill: Number | None) -> Value:
        held = node.attrs["value"]
        if not isinstance(held, Literal):
            return self.number(held, node.dtype)
        if math.prod(held.shape) == 1:
            return self.number(held.array().item(), node.dtype)
        if held not in self.constants:
            shape = tuple(map(int, held.shape))
            strides = tuple(math.prod(shape[a + 1 :]) for a in range(len(shape)))
            name = f"const{len(self.constants)}"
            self.constants[held] = MemRef(name, shape, strides, node.dtype, count=math.prod(shape))
        return self.load(self.constants[held], index, conditions, fill, node.dtype)

    def _random(self, node: Node, index: Index) -> Value:
        """An element of a stream of random bits."""
        seed, step = (self.at(x, ()) for x in node.inputs)
        number = self.expr(flat(index, node.shape))
        text = self.dialect.random(self, seed, step, int(node.attrs["stream"]), number)
        return Value(text, "u32", number.axes, max(number.level, seed.level, step.level), hint="bits")

    def row_of(self, node: Node, index: Index, size: int, conditions: tuple[Condition, ...]) -> Expr:
        """A computed number of a row as an index: clipped to the rows that there are."""
        value = self.at(node, index, conditions)
        if value.number is not None:
            return Expr.of(min(max(int(value.number), 0), size - 1))
        row = self.settle(value.but(text=self.dialect.clip(value, size)), "row")
        var = Var(row.text, size)
        self.bounds[var] = LoopVariable(row.text, row.axes, "", row.level)
        self.proof.chosen[var] = values_of(index, node.shape)
        return Expr.of(var)

    # Memory.

    def load(
        self,
        place: MemRef,
        index: Index,
        conditions: Sequence[Condition] = (),
        fill: Number | None = None,
        dtype: str = "",
    ) -> Value:
        """An element of a place. It is `fill` outside of those conditions that the load itself can check."""
        self.used.setdefault(place, False)
        e = place.address(index)
        address = self.expr(e)
        own = self.overhang(e)
        covered = []
        for condition in conditions:
            axes, level = self.reach([condition])
            if axes <= address.axes and level <= address.level:
                covered.append(condition)
        # A second reader of the same elements takes what the first one has read, and chooses for itself.
        key = ("load", place.name, index, frozenset((*own, *covered)), dtype)
        found = self.memo(key)
        if found is not None:
            return found
        self.proof.load(place, index, e, covered)
        mask = self.mask([*own, *covered])
        other = "" if fill is None else self.dialect.number(fill, place.dtype)
        dtype = dtype or place.dtype
        if mask is not None and self.lane in e.vars and not any(self.lane in _variables(c) for c in (*own, *covered)):
            text = self._steered(place, e, mask, other, dtype)
        else:
            text = self.dialect.load(place, self.short(address), mask, other, dtype, again=place.name in self.again)
        name = self.name(LOADED.sub(lambda found: "c" if found[1] == "const" else "x", place.name))
        axes, level = address.axes, address.level
        self.put(self.dialect.define(name, Value(text, dtype, axes, level)), level)
        filled = frozenset((*own, *covered)) if fill is not None and mask is not None else frozenset[Condition]()
        return self.remember(key, Value(name, dtype, axes, level, filled=filled, fill=fill, hint=name))

    def _steered(self, place: MemRef, e: Expr, mask: Value, other: str, dtype: str) -> str:
        """A masked element that all turns of the innermost loop have or have not: each reads one, and then chooses.

        So that loop has no branch. Where the mask does not hold, other elements of the place are read.
        """
        assert self.lane is not None
        along, rest = e.parts((self.lane,))
        self.proof.steered(place, along)
        first = self.dialect.select(mask, self.expr(rest), Value("0", "i32"))
        level = max(mask.level, self.expr(rest).level)
        start = self.settle(Value(first, "i64", level=level, tight=ATOM), "start")
        address = Value(f"{start.text} + {self.expr(along).within(PRODUCT)}", "i32", level=self.level, tight=SUM)
        read = Value(self.dialect.load(place, address, None, "", dtype, again=False), dtype, level=self.level)
        found = self.settle(read, "read")
        return self.dialect.select(mask, found, Value(other or self.dialect.number(0, place.dtype), dtype))

    def short(self, address: Value) -> Value:
        """The number of an element, under a name if it is long."""
        return self.settle(address, "at") if len(address.text) > LONGEST_ADDRESS else address

    def store(self, place: MemRef, index: Index, value: Value, conditions: Sequence[Condition] = ()) -> None:
        """Write an element, under the conditions and where no variable of its index is beyond its end."""
        self.used[place] = True
        e = place.address(index)
        address = self.expr(e)
        self.proof.store(place, index, e, conditions, value.axes)
        mask = self.mask([*self.overhang(e), *conditions])
        self.put(self.dialect.store(place, self.short(address), value, mask))

    def store_all(self, results: Iterable[tuple[MemRef, Index, Node]], conditions: tuple[Condition, ...] = ()) -> None:
        """Compute nodes at indices, then write them: a result may lie where an operand did."""
        values = [(place, index, self.narrow(self.at(x, index, conditions), x.dtype)) for place, index, x in results]
        for place, index, value in values:
            self.store(place, index, value)


def _variables(condition: Condition) -> frozenset[Var]:
    return frozenset((condition,)) if isinstance(condition, Var) else condition.expr.vars
