"""Reductions, element by element: running values, and loops over the positions of a window around one value.

`unwindow` is written in gather form: each element asks the windows that cover it, in a fixed order, so that nothing is
added by several programs at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ... import ops
from ...graph import Node, needs
from ...loops.domain import window
from ...loops.view import Expr, Guard, Index, Var, flat
from ...types import least, wide
from .place import Condition, Value

if TYPE_CHECKING:
    from .body import Body

# Makes a running value of a name that is wanted and a first value, and gives what it is called.
Variable = Callable[[str, Value], str]
# Windows of at most so many positions are written as loops that are unrolled.
UNROLLED = 64
POSITIONS = {1: ("k",), 2: ("kh", "kw"), 3: ("kd", "kh", "kw")}
NAMES = {"sum": "total", "max_reduce": "best", "argmax": "which", "unwindow": "total"}


@dataclass(frozen=True)
class Accumulator:
    """A reduction while it runs: the names of its value and, for a choice, of the best value so far.

    own: whether the choice keeps that itself, since no maximum of the same operand runs beside it.
    """

    node: Node
    dtype: str
    name: str
    best: str = ""
    own: bool = False


def reduced(node: Node, index: Index) -> Index:
    """The index of a reduction's result to which an element of its operand belongs."""
    return tuple(Expr.of(0) if a in node.attrs["axes"] else e for a, e in enumerate(index))


def neutral(node: Node) -> float:
    """What changes nothing where a reduction takes it in."""
    return 0 if node.op is ops.sum_ else least(node.inputs[0].dtype)


def started(
    body: Body, nodes: Iterable[Node], variable: Variable, names: Mapping[Node, str] | None = None
) -> list[Accumulator]:
    """Write the first values of reductions that run side by side. names: what some are called."""
    running: dict[Node, str] = {}
    found = []
    # Maxima first: a choice of the same operand looks at them.
    for node in sorted(nodes, key=lambda n: n.op is not ops.max_reduce):
        name = names.get(node, NAMES[node.op.name]) if names else NAMES[node.op.name]
        acc = start(body, node, variable, name, running.get(node.inputs[0], ""))
        if node.op is ops.max_reduce:
            running[node.inputs[0]] = acc.name
        found.append(acc)
    return found


def start(body: Body, node: Node, variable: Variable, hint: str, best: str = "") -> Accumulator:
    """Write the first value of a reduction. best: the running maximum of the same operand, if there is one."""
    x, dtype = node.inputs[0], wide(node.dtype)
    lowest = body.number(least(x.dtype), x.dtype)
    name = variable(hint, lowest if node.op is ops.max_reduce else Value("0", dtype, number=0))
    if node.op is not ops.argmax:
        return Accumulator(node, dtype, name)
    return Accumulator(node, dtype, name, best or variable("best", lowest), own=not best)


def accumulate(
    body: Body,
    running: Iterable[Accumulator],
    index: Callable[[Node], Index],
    conditions: tuple[Condition, ...] = (),
) -> None:
    """Write what one element does to reductions that run side by side. index: of the element in each operand."""
    values: dict[Node, Value] = {}
    # A choice looks at the running maximum before that is updated.
    for acc in sorted(running, key=lambda acc: acc.node.op is not ops.argmax):
        x = acc.node.inputs[0]
        at = index(x)
        if x not in values:
            values[x] = body.floating(body.at(x, at, conditions))
        if acc.node.op is not ops.sum_:
            values[x] = body.settle(body.typed(values[x]))
        update(body, acc, values[x], position(acc.node, at))


def position(node: Node, index: Index) -> Expr:
    """The row-major number, over the reduced axes, of the element of its operand that a choice looks at."""
    axes = node.attrs["axes"]
    return flat(tuple(index[a] for a in axes), [node.inputs[0].shape[a] for a in axes])


def update(body: Body, acc: Accumulator, value: Value, at: Expr) -> None:
    """Write what one value does to a reduction. at: the number of the element, for a choice."""
    dialect = body.dialect
    if acc.node.op is ops.max_reduce:
        body.put(dialect.update(acc.name, dialect.larger(acc.name, value)))
    elif acc.node.op is ops.argmax:
        chosen = dialect.select(dialect.better(value, acc.best), body.expr(at), Value(acc.name, acc.dtype))
        body.put(dialect.update(acc.name, chosen))
        if acc.own:
            body.put(dialect.update(acc.best, dialect.larger(acc.best, value)))
    else:
        body.put(dialect.update(acc.name, value.text, "+"))


def reduction(body: Body, node: Node, index: Index, conditions: tuple[Condition, ...]) -> Value:
    """A reduction, or the sum of an `unwindow`, at one index of its result; those beside it are computed with it."""
    if node.op is ops.unwindow:
        return _unwindow(body, node, index, conditions)
    axes = node.attrs["axes"]
    varying = body.reach([Guard(e, 0, 1) for e in index])[0]
    running = started(body, (node, *_beside(body, node, index)), partial(body.variable, axes=varying))
    inner = list(index)
    with _loops(body, window(node)) as places:
        for axis, place in zip(axes, places, strict=True):
            inner[axis] = place
        accumulate(body, running, lambda _: tuple(inner), conditions)
    for acc in running:
        body.preset(acc.node, index, Value(acc.name, acc.dtype, varying, body.level, hint=acc.name))
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
            and (other.inputs[0] is x or not (needs(other, node) or needs(node, other)))
        ):
            yield other


def positions(sizes: Sequence[int]) -> list[Var]:
    """Variables for the positions of a window."""
    long = sum(n != 1 for n in sizes)
    names = iter(POSITIONS.get(long) or [f"k{i}" for i in range(long)])
    return [Var(next(names) if n != 1 else f"single{i}", n) for i, n in enumerate(sizes)]


def _loops(body: Body, sizes: Sequence[int]) -> AbstractContextManager[Index]:
    return body.loops(positions(sizes), unrolled=math.prod(sizes) <= UNROLLED)


def covering(node: Node, index: Index) -> tuple[list[int], Callable[[Index], tuple[Index, tuple[Guard, ...]]]]:
    """The windows of an `unwindow` that cover an element: axis by axis the last of them and those before it.

    Given: how many there are at most along each axis; and for a number of each, the element of the operand, and where
    there is one.
    """
    x, attrs = node.inputs[0], node.attrs
    settings = list(zip(attrs["axes"], attrs["sizes"], attrs["strides"], attrs["dilations"], strict=True))
    counts = [k if d > 1 else -(-k // s) for _, k, s, d in settings]

    def inside(steps: Index) -> tuple[Index, tuple[Guard, ...]]:
        found, offsets, guards = list(index), [], []
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
        return (*found, *offsets), tuple(g for g in guards if not g.always)

    return counts, inside


def _unwindow(body: Body, node: Node, index: Index, conditions: tuple[Condition, ...]) -> Value:
    """The sum over the windows that cover an element."""
    counts, inside = covering(node, index)
    varying = body.reach([Guard(e, 0, 1) for e in index])[0]
    acc = None if math.prod(counts) == 1 else start(body, node, partial(body.variable, axes=varying), NAMES["unwindow"])
    with _loops(body, counts) as steps:
        at, guards = inside(steps)
        value = body.floating(body.masked(node.inputs[0], at, 0, (*conditions, *guards)))
        if acc is None:
            return value
        update(body, acc, value, Expr.of(0))
    return Value(acc.name, acc.dtype, varying, body.level, hint=acc.name)
