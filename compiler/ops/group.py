"""Ops that are no formula: `kernel` (a group of fused nodes as a graph), `host` (a call out), `item`, and `after`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..types import TensorType, TupleType
from .base import Array, Op, check, no_flops, register
from .rounding import Rounding, first
from .source import const

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..graph import Graph, Node


def _kernel_type(*types: TensorType, kind: str, body: Graph, schedule: Any = None) -> TupleType:
    names = [f"in{i}" for i in range(len(types))]
    check(set(body.inputs) <= set(names), f"the body reads {sorted(body.inputs)}, the kernel has {len(types)} operands")
    for name, type_ in zip(names, types, strict=True):
        if name in body.inputs and (inside := body.inputs[name].type) != type_:
            check(False, f"{name} is {inside} in the body, {type_} outside")
    check(not body.params and not body.updates, "a kernel has no state of its own")
    return TupleType(tuple(node.type for node in body.outputs.values()))


def _kernel(*arrays: Array, kind: str, body: Graph, schedule: Any = None) -> tuple[Array, ...]:
    from ..interpret import evaluate

    wide = any(a.dtype.name == "float64" for a in arrays)
    return tuple(evaluate(body, {f"in{i}": a for i, a in enumerate(arrays)}, wide=wide)[0].values())


def _kernel_flops(y: TupleType, *_: Any, kind: str, body: Graph, schedule: Any = None) -> int:
    return sum(n.op.flops(n.result, *(x.result for x in n.inputs), **n.attrs) for n in body.order)


# Fused nodes: operands are the body's inputs `in0`, `in1`, …; results are the body's outputs in order.
kernel: Op = register(Op("kernel", "group", _kernel_type, _kernel, None, _kernel_flops, None, "exact"))


def _host_type(*types: TensorType, function: Any, results: tuple[TensorType, ...]) -> TupleType:
    return TupleType(tuple(results))


def _host(*arrays: Array, function: Any, results: tuple[TensorType, ...]) -> tuple[Array, ...]:
    return tuple(function(*arrays))


def _host_vjp(
    g: Sequence[Node | None], y: Node, *xs: Node, function: Any, results: tuple[TensorType, ...]
) -> list[Node | None]:
    """The function's own way back: another call, of gradients, operands and results."""
    wanted = [i for i, x in enumerate(xs) if x.type.is_float]
    back = function.backwards(len(xs), wanted)
    gradients = [
        const(value=0, shape=of.shape, dtype=of.dtype) if one is None else one
        for one, of in zip(g, results, strict=True)
    ]
    values = [item(y, index=i) for i in range(len(results))]
    call = host(*gradients, *xs, *values, function=back, results=tuple(xs[i].type for i in wanted))
    found = {i: item(call, index=k) for k, i in enumerate(wanted)}
    return [found.get(i) for i in range(len(xs))]


# A Python function called between two programs: arrays in, arrays out. `function` is a `compiler.host.HostFunction`.
host: Op = register(Op("host", "group", _host_type, _host, _host_vjp, no_flops, None, "exact"))


def _item_type(of: TupleType, *, index: int) -> TensorType:
    check(isinstance(of, TupleType) and 0 <= index < len(of.items), lambda: f"{of} has no item {index}")
    return of.items[index]


# One result of an op that has several, whose gradient rule takes those of all its items at once.
item: Op = register(
    Op(
        "item",
        "group",
        _item_type,
        lambda values, *, index: values[index],
        lambda g, y, of, *, index: [g],
        no_flops,
        None,
        "exact",
    )
)


def _after_type(x: TensorType, wait: TensorType) -> TensorType:
    return x


def _after_vjp(g: Node, y: Node, x: Node, wait: Node) -> tuple[Node, None]:
    return g, None


# The first operand, not to be read before the second is computed: an optimization barrier. It is gone from kernels.
after: Op = register(
    Op("after", "group", _after_type, lambda x, wait: x, _after_vjp, no_flops, Rounding(first), "exact")
)
