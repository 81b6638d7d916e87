"""Strip mining: an axis along which elements lie side by side, in blocks whose running values stay in the cache.

Loops over a block are the innermost ones, and become vectors. What else is iterated (the positions of a window, what a
sum runs over) stands between the loop over blocks and them, so it may begin and end where there are elements, and no
element asks whether it is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ... import ops
from ...graph import Node, reached
from ...kernel import window_axes
from ...loops.contraction import guards_that_tell
from ...loops.domain import window
from ...loops.view import Expr, Guard, Index, Pulled, Var, behind, pull
from ...types import wide
from ..loops.body import Body
from ..loops.place import Value
from ..loops.reductions import Accumulator, accumulate, covering, neutral, positions, started, update
from .dialect import type_of
from .function import SIMD
from .operand import affine, bounds, limits
from .shares import blocks_fault

Wanted = Iterable[tuple[Node, Index]]


@dataclass(frozen=True)
class Shifted:
    """A window along the lanes. ahead: an element depends on the sum of lane and step alone, else on the difference."""

    step: Var
    element: Pulled
    ahead: bool


class Lanes:
    """The elements of a block of an axis. first: of the axis, its number in the text is `first + j`."""

    def __init__(self, body: Body, wanted: str, size: int, block: int) -> None:
        self.body, self.size = body, size
        self.block = min(block, size)
        self.whole = type_of(body, "i32")
        body.reserve("first", "rows", "j")
        self.var = Var(body.name(wanted), size)
        self.count = str(self.block) if size % self.block == 0 else "rows"

    @contextmanager
    def blocks(self) -> Iterator[None]:
        """The loop over blocks."""
        body, size, block = self.body, self.size, self.block
        body.outermost += [self.var] if body.level == 0 else []
        head, count = f"for ({self.whole} first = 0; first < {size}; first += {block}) {{", self.count
        with body.loop(head, "}"):
            if self.count == "rows":
                count = f"first + {block} < {size} ? {block} : {size} - first"
                body.put(f"const {self.whole} rows = {count};")
            if (found := blocks_fault(head, count, size)) is not None:
                body.proof.refuse(*found)
            # What does not depend on the element is computed in front of the loops over a block.
            body.bind(self.var, self.var.name)
            yield

    @contextmanager
    def each(self) -> Iterator[Expr]:
        """The loop over the elements of a block; the element's number along the axis."""
        body, before = self.body, self.body.open
        with body.loop(f"{SIMD}\nfor ({self.whole} j = 0; j < {self.count}; j++) {{", "}"):
            body.put(f"const {self.whole} {self.var.name} = first + j;")
            body.open, body.lane = (*before, self.var), self.var
            yield body.bind(self.var, self.var.name)
        body.open, body.lane = before, None

    def running(self, nodes: Iterable[Node]) -> list[Accumulator]:
        """Running values of reductions, one for each element of a block, with their first values."""
        body, first = self.body, dict[str, str]()

        def array(wanted: str, value: Value) -> str:
            name = body.name(wanted)
            body.put(f"{type_of(body, value.dtype)} {name}[{self.block}];")
            first[f"{name}[j]"] = body.number(value.number or 0, value.dtype).text
            return f"{name}[j]"

        found = started(body, nodes, array)
        with self.each():
            for name, text in first.items():
                body.put(body.dialect.update(name, text))
        return found

    @contextmanager
    def windows(self, wanted: Wanted) -> Iterator[Callable[[], None]]:
        """Loops that compute what these values need of windows; gives what says so inside of `each`.

        wanted: nodes, each at the index at which it is wanted there.
        """
        body, wanted = self.body, list(wanted)
        staged = [(nodes, at, shifted, self._stage(shifted)) for nodes, at, shifted in self._along(wanted)]
        made: list[tuple[Accumulator, Index]] = []
        for nodes, index in self._windows(wanted, self._apart):
            running = self.running(nodes)
            made += ((acc, index) for acc in running)
            if nodes[0].op is ops.unwindow:
                self._unwindow(running[0], index)
            else:
                self._window(running, index)

        def told() -> None:
            for nodes, index, shifted, array in staged:
                running = started(body, nodes, body.variable)
                with body.loops([shifted.step], unrolled=True) as (k,):
                    number = body.expr(k if shifted.ahead else k * -1 + (shifted.step.size - 1)).text
                    for acc in running:
                        update(body, acc, Value(f"{array}[j + {number}]", acc.dtype, level=body.level), k)
                made.extend((acc, index) for acc in running)
            for acc, index in made:
                body.preset(acc.node, index, Value(acc.name, acc.dtype, level=body.level, hint=acc.name))

        yield told

    def _along(self, wanted: Wanted) -> Iterator[tuple[list[Node], Index, Shifted]]:
        """Reductions of windows along the lanes."""
        for nodes, index in self._windows(wanted, lambda *at: self._shifted(*at) is not None):
            found = self._shifted(nodes[0], index)
            assert found is not None
            yield nodes, index, found

    def _shifted(self, node: Node, index: Index) -> Shifted | None:
        """A window along the lanes, if it is one whose elements stand side by side."""
        if node.op is ops.argmax or self.block < self.size or wide(node.dtype) != "f32":
            return None
        if node.op is ops.unwindow:
            counts, inside = covering(node, index)
            steps = positions(counts)
            at, guards = inside(_each(steps))
            found = behind(node.inputs[0], at, 0)
            found = replace(found, guards=(*guards, *found.guards))
        else:
            steps = positions(window(node))
            found = behind(node.inputs[0], _inner(node, index, _each(steps)), neutral(node))
        several = [v for v in steps if v.size > 1]
        asked = [*found.index, *(guard.expr for guard in found.guards)]
        if len(several) != 1 or not any(self.var in e.vars for e in asked):
            return None
        both = (self.var, several[0])
        if not all(affine(e, both) for e in asked):
            return None
        factors = [[next((f for f, term in e.terms if term == v), 0) for v in both] for e in asked]
        for ahead in (True, False):
            if all(along == (by if ahead else -by) for along, by in factors):
                return Shifted(several[0], found, ahead)
        return None

    def _stage(self, shifted: Shifted) -> str:
        """Write what windows along the lanes read side by side, each element once; the array's name."""
        body, pulled, extra = self.body, shifted.element, shifted.step.size - 1
        span = self.size + extra
        array, var = body.name("near"), Var(body.name("s"), span)
        body.put(f"float {array}[{span}];")
        with body.loop(f"{SIMD}\nfor ({self.whole} {var.name} = 0; {var.name} < {span}; {var.name}++) {{", "}"):
            here = body.bind(var, var.name)
            at = {self.var: here if shifted.ahead else here - extra, shifted.step: Expr.of(0)}
            guards = guards_that_tell(guard.replace(at) for guard in pulled.guards)
            index = tuple(e.replace(at) for e in pulled.index)
            value = body.floating(body.masked(pulled.node, index, pulled.fill, guards))
            body.put(f"{array}[{var.name}] = {value.text};")
        return array

    def _windows(self, wanted: Wanted, fits: Callable[[Node, Index], bool]) -> list[tuple[list[Node], Index]]:
        """Reductions of windows that a value needs, at their index: those of one operand and index together."""
        found: dict[tuple[Node, Index], list[Node]] = {}
        for node, index in reached(wanted, self._below):
            if window_axes(node) and self.body.memo((node, index)) is None and fits(node, index):
                key = node if node.op is ops.unwindow else node.inputs[0]
                found.setdefault((key, index), []).append(node)
        return [(nodes, index) for (_, index), nodes in found.items()]

    def _below(self, wanted: tuple[Node, Index]) -> list[tuple[Node, Index]]:
        """What a value is computed from, at the same element, until a window or what is known."""
        node, index = wanted
        if window_axes(node) or self.body.memo(wanted) is not None:
            return []
        if node.op.family == "pointwise":
            return [(x, index) for x in (node.inputs[:1] if node.op is ops.surrogate else node.inputs)]
        if node.op.family == "movement" and len(node.inputs) == 1:
            pulled = pull(node, index)
            return [] if pulled.guards else [(pulled.node, pulled.index)]
        return []

    def _apart(self, node: Node, index: Index) -> bool:
        """Whether a window may have fewer elements than positions, and loops over these can tell, for all lanes alike.

        Else it is summed in registers, all positions in turn.
        """
        steps, guards = _taps(node, index)
        if not guards or math.prod(v.size for v in steps) == 1 or not limits(guards, steps):
            return False
        return all(self.var not in g.expr.vars for g in guards)

    def _window(self, running: Sequence[Accumulator], index: Index) -> None:
        node = running[0].node
        steps, guards = _taps(node, index)
        with between(self.body, steps, guards, {}) as at, self.each():
            inner = _inner(node, index, tuple(at[v] for v in steps))
            accumulate(self.body, running, lambda _: inner)

    def _unwindow(self, acc: Accumulator, index: Index) -> None:
        body, (steps, outer) = self.body, _taps(acc.node, index)
        with between(body, steps, outer, {}) as at, self.each():
            where, guards = covering(acc.node, index)[1](tuple(at[v] for v in steps))
            update(body, acc, body.floating(body.masked(acc.node.inputs[0], where, 0, guards)), Expr.of(0))


@contextmanager
def between(
    body: Body, variables: Sequence[Var], guards: Sequence[Guard], at: Mapping[Var, Expr], *, apart: bool = False
) -> Iterator[dict[Var, Expr]]:
    """Loops over variables, each from the first value for which there are elements to the last.

    guards: say where there are elements, over the variables and those that `at` replaces; see `operand.limits`. apart:
    the turns of the innermost do not need each other.
    """
    found, whole = {**at, **{var: Expr.of(0) for var in variables if var.size == 1}}, type_of(body, "i32")
    several = [var for var in variables if var.size > 1]
    before = body.asked
    with ExitStack() as stack:
        # What no loop decides is asked before them.
        known = [g.replace(found) for g in guards if g.expr.vars.isdisjoint(several)]
        stack.enter_context(body.branch(guards_that_tell(known)))
        for var in several:
            name = body.name(var.name)
            first, end = bounds(body, var, [g.replace(found) for g in guards if var in g.expr.vars])
            head = f"for ({whole} {name} = {first}; {name} < {end}; {name}++) {{"
            stack.enter_context(body.loop(f"{SIMD}\n{head}" if apart and var is several[-1] else head, "}"))
            found[var] = body.bind(Var(name, var.size), name)
        body.asked += tuple(g.replace(found) for g in guards)
        yield found
    body.asked = before


def _taps(node: Node, index: Index) -> tuple[list[Var], Sequence[Guard]]:
    """Variables for the positions of a window, or for the windows that cover an element, and where there is one."""
    if node.op is ops.unwindow:
        counts, inside = covering(node, index)
        steps = positions(counts)
        return steps, inside(_each(steps))[1]
    steps = positions(window(node))
    # Where an element is one, and no padding that changes nothing.
    found = behind(node.inputs[0], _inner(node, index, _each(steps)), neutral(node))
    return steps, guards_that_tell(dict.fromkeys(found.guards))


def _each(variables: Sequence[Var]) -> Index:
    return tuple(Expr.of(v) if v.size > 1 else Expr.of(0) for v in variables)


def _inner(node: Node, index: Index, positions: Index) -> Index:
    """The index of an element of a window."""
    inner = dict(enumerate(index)) | dict(zip(node.attrs["axes"], positions, strict=True))
    return tuple(inner[a] for a in range(len(index)))
