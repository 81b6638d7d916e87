"""Bounds, dependence and coverage of a kernel's accesses, proved as its statements are written.

An index is an expression over loop variables, and under what conditions an access takes place is known; so, axis by
axis, before an address is flattened:

- every load and every store is within its place, by the ranges of the variables and the guards (interval arithmetic);
- two programs, two lanes of one store, and two turns of a loop that threads share out, never write one element: an
  address tells all variables that it names apart (mixed radix), and names each over which these are spread, unless
  that has one value only; beside such a loop threads do nothing but read;
- a result is complete: it has as many elements as there are values of the variables that its address names;
- what is written over an operand (a state updated in place) was read at the same address before, and if all threads
  hold what was read, as one number for a row, they have met at a barrier before some of them write.

Where intervals do not tell, few enough values are tried all; else, and where a proof fails, `Unproved` is raised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NoReturn

from ...fault import Unproved
from ...graph import Graph
from ...loops.index import Expr, Var
from ...loops.intervals import count, distinct, inside, meet, within
from ...loops.view import Guard, Index
from ..names import origins
from .place import Condition, LoopVariable, MemRef
from .traffic import traffic

if TYPE_CHECKING:
    from .statements import Statements


@dataclass(frozen=True)
class Access:
    """An access in the order of the text. axes: dimensions of the block along which its address varies.

    count: elements that a store writes. named: variables that tell these apart.
    """

    place: MemRef
    index: Index
    address: Expr
    axes: frozenset[int]
    number: int
    count: int = 0
    named: frozenset[Var] = frozenset()


class Proof:
    """What is proved of one kernel. written: its statements so far, with variables, open loops and branches."""

    def __init__(self, graph: Graph, written: Statements) -> None:
        self._graph = graph
        self._written = written
        self._bounds: Mapping[Var, LoopVariable] = written.bounds
        self._loads: list[Access] = []
        self._stores: list[Access] = []
        self._barriers: list[int] = []
        self._axes: dict[str, int] = {}
        self._last = 0
        # Whether threads share out a loop of it.
        self.is_shared = False
        # Variables whose values data give, and how often they are asked for.
        self.chosen: dict[Var, int] = {}

    @property
    def traffic(self) -> int:
        """The bytes that are read and written."""
        return traffic(self._loads, self._stores, self.chosen)

    @property
    def loads(self) -> int:
        return len(self._loads)

    @property
    def stores(self) -> int:
        return len(self._stores)

    def load(self, place: MemRef, index: Index, address: Expr, conditions: Sequence[Condition]) -> None:
        """A load takes place where these conditions hold and no variable of its address is beyond its end."""
        self._within("reads", place, index, address, conditions)
        self._loads.append(self._access(place, index, address))

    def store(
        self,
        place: MemRef,
        index: Index,
        address: Expr,
        conditions: Sequence[Condition],
        axes: frozenset[int],
        room: Mapping[Var, int] | None = None,
    ) -> None:
        """The same of a store. axes: dimensions of the block of what is stored. room: sizes of variables that are not
        kept from passing their ends, since the place has room there."""
        guards = [c for c in (*conditions, *self._written.asked) if isinstance(c, Guard)]
        if room:
            wide = address.replace({v: Expr.of(Var(v.name, size)) for v, size in room.items()})
            if not inside(wide.bounds, place.count):
                self._fail("bounds", "writes", place, f"elements {wide.bounds} of {place.count}")
            if not distinct([wide], ()):
                self._fail("race", "writes", place, f"one element twice, at {wide}")
        else:
            self._within("writes", place, index, address, conditions)
        if not (distinct([address], guards) or (_regular(place) and distinct(index, guards))):
            self._fail("race", "writes", place, f"one element twice, at {address}")
        # An axis of one element is not in the address; where guards let only that through, it is told all the same.
        single = [i for i, n in zip(index, place.shape, strict=True) if n == 1 and i.vars and within(i, 1, guards)]
        named = address.vars.union(*(i.vars for i in single if distinct([i], ())))
        self._spread(place, address, named, axes, [c for c in conditions if isinstance(c, Var)])
        self._stores.append(self._access(place, index, address, count(named, guards), named))

    def barrier(self) -> None:
        """All threads of a program have come so far."""
        self._last += 1
        self._barriers.append(self._last)

    def shared(self, turns: Iterable[Var], beside: Sequence[str] = ()) -> None:
        """All is written, and threads share out the turns of a loop: each is one thread's.

        turns: variables whose values tell them apart. beside: statements that stand in no such loop, so that all
        threads run them: a running value there would be each thread's own, what is written there would be written by
        all.
        """
        if beside:
            self.refuse("race", f"`{beside[0].strip()}` stands beside the loop that threads share out, so all run it")
        several = [v for v in turns if v.size > 1]
        for store in self._stores:
            for v in several:
                if v not in store.named:
                    told = f"{store.address} in every turn of {v}, and threads share these out"
                    self._fail("race", "writes", store.place, told)
        self.is_shared = True

    def finish(self) -> None:
        """All is written: what was stored is complete, and in order with what was read where it lies."""
        places = dict.fromkeys(one.place for one in self._stores)
        for place in places:
            stores = [one for one in self._stores if one.place == place]
            for one, other in combinations(stores, 2):
                if all(meet(a.bounds, b.bounds) for a, b in zip(one.index, other.index, strict=True)):
                    self._fail("race", "writes", place, f"twice, at {one.address} and at {other.address}")
            if (count := sum(one.count for one in stores)) != math.prod(place.shape):
                at = "; ".join(_text(one.index) for one in stores)
                self._fail("complete", "writes", place, f"{count} of its {math.prod(place.shape)} elements, at {at}")
            for store in stores:
                for load in self._loads:
                    if place.memory and load.place.memory == place.memory:
                        self._in_place(load, store)

    def _access(
        self, place: MemRef, index: Index, address: Expr, count: int = 0, named: frozenset[Var] = frozenset()
    ) -> Access:
        self._last += 1
        axes = frozenset(a for v in address.vars for a in self._bounds[v].axes)
        return Access(place, index, address, axes, self._last, count, named)

    # Variables.

    def bound(self, var: Var, bound: LoopVariable) -> None:
        """A variable of the kernel takes all of its values, and passes its end only where that is asked."""
        if (spread := bound.spread) is None:
            return
        reach = spread.programs * spread.block
        if reach < var.size:
            self.refuse("complete", f"{var} takes {reach} of its {var.size} values")
        if reach > var.size and not bound.inside:
            self.refuse("bounds", f"{var} takes {reach} values, past its end at {var.size}, which nothing asks")
        known = self._axes.setdefault(spread.axis, spread.programs)
        if known != spread.programs:
            self.refuse("complete", f"there are {known} and {spread.programs} programs along {spread.axis}")

    def grid(self, programs: Sequence[int]) -> None:
        """So many programs run, along the axes of the grid."""
        if math.prod(programs) != math.prod(self._axes.values()):
            self.refuse("complete", f"a grid of {_text(programs)} programs runs, {self._axes} are needed")

    # Bounds.

    def _within(self, does: str, place: MemRef, index: Index, address: Expr, conditions: Sequence[Condition]) -> None:
        axes = [(i, n) for i, n in zip(index, place.shape, strict=True) if n != 1]
        if all(inside(i.bounds, n) and i.vars <= address.vars for i, n in axes):
            return
        conditions = (*conditions, *self._written.asked)
        guards = [c for c in conditions if isinstance(c, Guard)]
        known = {*address.vars, *(c for c in conditions if isinstance(c, Var))}
        # A variable that may pass its end is within its range only where the access asks so.
        loose = frozenset(v for v, bound in self._bounds.items() if v not in known and bound.inside)
        guards = [g for g in guards if loose.isdisjoint(g.expr.vars)]
        for i, n in axes:
            if not loose.isdisjoint(i.vars) or not (inside(i.bounds, n) or within(i, n, guards)):
                where = f"index {i} of {n}" + (f" where {' and '.join(map(str, guards))}" if guards else "")
                self._fail("bounds", does, place, f"beside its elements: {where}, in {_text(index)}")

    def span(self, guard: Guard, var: Var, low: Expr, step: int, high: Expr) -> None:
        """A loop takes those values of a variable with low <= step * var <= high: there a guard holds, all such are."""
        own = {Expr.of(var) * step - low, high - Expr.of(var) * step}
        if own != {guard.expr - guard.low, guard.expr * -1 + (guard.high - 1)} or guard.step != 1:
            self.refuse("bounds", f"a loop over {low} <= {step} * {var} <= {high} is not where {guard}")

    def steered(self, place: MemRef, along: Expr) -> None:
        """Where a mask does not hold, the element is read whose number has no other terms than these."""
        if not inside(along.bounds, place.count):
            self._fail("bounds", "reads", place, f"elements {along.bounds} of {place.count} where it needs none")

    # Dependence.

    def _spread(
        self, place: MemRef, address: Expr, named: frozenset[Var], axes: frozenset[int], conditions: Sequence[Var]
    ) -> None:
        """Programs and lanes that a store's address does not tell apart must not store."""
        along = {spread.axis for v in named if (spread := self._bounds[v].spread) is not None}
        for v, bound in self._bounds.items():
            if bound.spread is not None and bound.spread.programs > 1 and bound.spread.axis not in along:
                self._fail("race", "writes", place, f"{address} in all programs, whatever their {v} is")
        for v in self._written.open:
            if v not in named:
                self._fail("race", "writes", place, f"{address} again in each turn of {v}")
        told = frozenset(a for v in named for a in self._bounds[v].axes)
        # A variable of one value that may not pass its end leaves one lane; so does one that takes one value a program.
        single = frozenset(
            a for v in conditions if v.size == 1 and self._bounds[v].inside for a in self._bounds[v].axes
        )
        single |= {a for bound in self._bounds.values() if bound.spread and bound.spread.block == 1 for a in bound.axes}
        if not axes <= told | single:
            self._fail("race", "writes", place, f"{address} in all lanes along a side of the block")

    def _in_place(self, load: Access, store: Access) -> None:
        what = store.place
        if load.address != store.address:
            self._fail("race", "writes", what, f"{store.address}, over an operand that is read at {load.address}")
        if load.number > store.number:
            self._fail("order", "reads", load.place, f"{load.address} after it has written that")
        wider = any(other.number > load.number and other.axes > load.axes for other in self._stores)
        if wider and not any(load.number < barrier < store.number for barrier in self._barriers):
            self._fail(
                "order", "writes", what, f"{store.address}, which late threads may still read, without a barrier"
            )

    def _fail(self, kind: str, does: str, place: MemRef, told: str) -> NoReturn:
        self.refuse(kind, f"it {does} `{place.name}` ({place.dtype}[{_text(place.shape)}]) {told}")

    def refuse(self, kind: str, told: str) -> NoReturn:
        """Raise `Unproved` of this kernel."""
        raise Unproved(kind, told, *origins(self._graph))


def _text(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _regular(place: MemRef) -> bool:
    """Whether other indices are other addresses: each stride is longer than all smaller ones can reach together."""
    reach = 0
    for stride, n in sorted((s, n) for s, n in zip(place.strides, place.shape, strict=True) if n > 1):
        if stride <= reach:
            return False
        reach += stride * (n - 1)
    return True
