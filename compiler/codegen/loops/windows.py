"""Reductions that are computed where they are needed: over the positions of a window, as loops around one value.

`unwindow` is written in gather form: each element asks the windows that cover it, in a fixed order, so that nothing is
added by several programs at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import ops
from ...graph import Node
from ...loops.view import Expr, Guard, Index, Var, flat
from ...types import least
from .place import WIDE, Condition, Value

if TYPE_CHECKING:
    from .body import Body

# Windows of at most so many positions are written as loops that are unrolled.
UNROLLED = 64
POSITIONS = {1: ("k",), 2: ("kh", "kw"), 3: ("kd", "kh", "kw")}
NAMES = {"sum": "total", "max_reduce": "best", "argmax": "which", "unwindow": "total"}


@dataclass
class Accumulator:
    """A reduction while it runs: the names of its result and, for a choice, of the best value so far."""

    node: Node
    dtype: str
    name: str
    best: str = ""


def held(node: Node) -> str:
    """The type in which a node's values are summed or compared."""
    return WIDE.get(node.dtype, node.dtype)


def start(body: Body, node: Node, axes: frozenset[int], best: str = "") -> Accumulator:
    """Write the first values of a reduction. best: the running maximum of the same operand, if there is one."""

    def least_of(x: Node) -> Value:
        return body.number(least(x.dtype), x.dtype)

    hint = NAMES[node.op.name]
    if node.op is ops.max_reduce:
        name = body.variable(hint, least_of(node), axes)
        return Accumulator(node, held(node), name, name)
    name = body.variable(hint, Value("0", held(node), number=0), axes)
    if node.op is ops.argmax and not best:
        best = body.variable("best", least_of(node.inputs[0]), axes)
    return Accumulator(node, held(node), name, best)


def turn(body: Body, acc: Accumulator, value: Value, position: Expr, *, own: bool) -> None:
    """Write what one element does to a reduction. own: the choice keeps its own maximum."""
    dialect = body.dialect
    if acc.node.op is ops.max_reduce:
        body.put(dialect.update(acc.name, dialect.larger(acc.name, value)))
    elif acc.node.op is ops.argmax:
        chosen = dialect.select(dialect.better(value, acc.best), body.expr(position), Value(acc.name, acc.dtype))
        body.put(dialect.update(acc.name, chosen))
        if own:
            body.put(dialect.update(acc.best, dialect.larger(acc.best, value)))
    else:
        body.put(dialect.update(acc.name, value.text, "+"))


def reduction(body: Body, node: Node, index: Index, conditions: tuple[Condition, ...]) -> Value:
    """A reduction, or the sum of an `unwindow`, at one index of its result; those beside it are computed with it."""
    if node.op is ops.unwindow:
        return _unwindow(body, node, index, conditions)
    x, axes = node.inputs[0], node.attrs["axes"]
    group = [node, *(n for n in _beside(body, node, index))]
    # The running maximum is updated after the choice has looked at it.
    group.sort(key=lambda n: n.op is not ops.max_reduce)
    wide = body.reach([Guard(e, 0, 1) for e in index])[0]
    running: dict[Node, str] = {}
    started: list[tuple[Accumulator, bool]] = []
    for one in group:
        acc = start(body, one, wide, running.get(one.inputs[0], "") if one.op is ops.argmax else "")
        if one.op is ops.max_reduce:
            running[one.inputs[0]] = acc.name
        started.append((acc, one.op is ops.argmax and one.inputs[0] not in running))
    with ExitStack() as stack:
        inner = list(index)
        sizes = [int(x.shape[a]) for a in axes]
        for axis, position in zip(axes, _positions(body, stack, sizes), strict=True):
            inner[axis] = position
        number = flat(tuple(inner[a] for a in axes), sizes)
        values: dict[Node, Value] = {}
        for acc, own in sorted(started, key=lambda pair: pair[0].node.op is not ops.argmax):
            operand = acc.node.inputs[0]
            if operand not in values:
                values[operand] = body.floating(body.at(operand, tuple(inner), conditions))
            if acc.node.op is not ops.sum_:
                values[operand] = body.settle(body.typed(values[operand]))
            turn(body, acc, values[operand], number, own=own)
    for acc, _ in started:
        done = Value(acc.name, acc.dtype, wide, body.level, hint=acc.name)
        body.preset(acc.node, index, done)
    found = body.memo((node, index))
    assert found is not None
    return found


def _beside(body: Body, node: Node, index: Index) -> Iterator[Node]:
    """Other reductions over the same positions which do not need this one, nor it them."""
    x = node.inputs[0]
    for other in body.graph.order:
        if (
            other is not node
            and other.op.family == "reduce"
            and other.attrs["axes"] == node.attrs["axes"]
            and other.inputs[0].shape == x.shape
            and body.memo((other, index)) is None
            and (other.inputs[0] is x or not (_needs(other, node) or _needs(node, other)))
        ):
            yield other


def _needs(node: Node, other: Node) -> bool:
    stack, seen = [node], {node}
    while stack:
        for x in stack.pop().inputs:
            if x is other:
                return True
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return False


def _positions(body: Body, stack: ExitStack, sizes: Sequence[int]) -> list[Expr]:
    """Open a loop for each axis that is longer than 1; the variables."""
    unrolled = math.prod(sizes) <= UNROLLED
    long = [n for n in sizes if n != 1]
    names = iter(POSITIONS.get(len(long)) or [f"k{i}" for i in range(len(long))])
    found = []
    for n in sizes:
        if n == 1:
            found.append(Expr.of(0))
            continue
        name = body.name(next(names))
        stack.enter_context(body.loop(*body.dialect.loop(name, n, unrolled=unrolled)))
        found.append(body.bind(Var(name, n), name))
    return found


def _unwindow(body: Body, node: Node, index: Index, conditions: tuple[Condition, ...]) -> Value:
    """The sum over the windows that cover an element: axis by axis the last of them and those before it."""
    x, attrs = node.inputs[0], node.attrs
    settings = list(zip(attrs["axes"], attrs["sizes"], attrs["strides"], attrs["dilations"], strict=True))
    turns = [k if d > 1 else -(-k // s) for _, k, s, d in settings]
    wide = body.reach([Guard(e, 0, 1) for e in index])[0]
    single = math.prod(turns) == 1
    acc = None if single else start(body, node, wide)
    with ExitStack() as stack:
        found, offsets, guards = list(index), [], []
        steps = _positions(body, stack, turns)
        for (axis, size, stride, dilation), t in zip(settings, steps, strict=True):
            windows = int(x.shape[axis])
            if dilation > 1:
                first, offset = index[axis] - t * dilation, t
                guards.append(Guard(first, 0, max(windows - 1, 0) * stride + min(windows, 1), stride))
                found[axis] = first // stride
            else:
                found[axis] = index[axis] // stride - t
                offset = index[axis] % stride + t * stride
                guards += [Guard(found[axis], 0, windows), Guard(offset, 0, size)]
            offsets.append(offset)
        wanted = (*conditions, *(g for g in guards if not g.always))
        value = body.floating(body.masked(x, (*found, *offsets), 0, wanted))
        if acc is None:
            return value
        turn(body, acc, value, Expr.of(0), own=False)
    return Value(acc.name, acc.dtype, wide, body.level, hint=acc.name)
