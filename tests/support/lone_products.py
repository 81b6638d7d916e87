"""Kernels of products for Triton, each a program of its own; and the graphs of products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netc.compiler import ops
from netc.compiler.codegen.loops.storage import Storage
from netc.compiler.codegen.loops.written import Written
from netc.compiler.codegen.triton.templates import write_kernel
from netc.compiler.graph import Graph, Node
from netc.compiler.kernel import Blocks
from netc.compiler.loops.domain import domain_of
from netc.compiler.ops.rounding import Arithmetic
from netc.passes import manager
from netc.passes.lowering.stages import split
from netc.passes.unit import Choices, Unit
from support.lone_kernels import run_each
from support.lowered import placing
from support.numpy_program import made_up

Sizes = tuple[int, ...]
LAST = (0, 2, 3, 1)
SMALL = Blocks(rows=64, columns=16, depth=32)


def leaf(i: int, shape: Sizes, dtype: str = "f32") -> Node:
    return ops.input_(name=f"in{i}", shape=shape, dtype=dtype)


def written(graph: Graph, blocks: Blocks, orders: Mapping[str, Sequence[int]]) -> Written:
    """The first function of a kernel. orders: how operands and results lie in memory, where that is not row-major."""
    placed = manager.run(lone(graph, blocks, orders), placing("triton"))
    assert placed.plan is not None
    storage = Storage(placed.graph, placed.plan, write_kernel)
    storage.kernel(placed.plan.kernels[0])
    ((_, found),) = storage.written.values()
    return found


def lone(body: Graph, blocks: Blocks, orders: Mapping[str, Sequence[int]]) -> Unit:
    """The graph of that one kernel, or the two that it becomes. An operand in another order is a view of an input."""
    operands = []
    for i in range(max(int(name[2:]) for name in body.inputs) + 1):
        node = body.inputs.get(f"in{i}", leaf(i, ()))
        axes = tuple(orders.get(f"in{i}", range(len(node.shape))))
        stored = leaf(i, tuple(int(node.shape[a]) for a in axes), node.dtype)
        operands.append(ops.transpose(stored, perm=tuple(map(axes.index, range(len(axes))))))
    kernel = ops.kernel(*operands, kind=domain_of(body).kind, body=body, schedule=blocks)
    items = {name: ops.item(kernel, index=k) for k, name in enumerate(body.outputs)}
    chosen = {items[name]: tuple(orders.get(name, range(len(node.shape)))) for name, node in body.outputs.items()}
    unit = Unit(Graph(items), Choices(arch="interpreter"), orders=chosen)
    return manager.run(unit, [("split", split)])


def check(body: Graph, blocks: Blocks = SMALL, **orders: Sequence[int]) -> Written:
    """Run a body's kernel, and what finishes it where it is split, and hold all results to their budget."""
    unit = lone(body, blocks, orders)
    for ran in run_each(unit, made_up(unit.graph), Arithmetic()):
        assert ran.ok, str(ran)
    return written(body, blocks, orders)


def convolutions(x: Sizes, w: Sizes, **attrs: Any) -> list[Graph]:
    """A convolution and its two gradients."""
    rank = len(x) - 2
    attrs = {"stride": (1,) * rank, "pad": (0,) * rank, "dilation": (1,) * rank, "groups": 1, **attrs}
    y = ops.conv(leaf(0, x), leaf(1, w), **attrs)
    by_data = ops.conv_data_grad(leaf(0, y.shape), leaf(1, w), size=x[2:], **attrs)
    by_weights = ops.conv_weight_grad(leaf(0, x), leaf(1, y.shape), kernel=w[2:], **attrs)
    return [Graph({"out0": node}) for node in (y, by_data, by_weights)]


def biased(y: Node, i: int) -> Node:
    bias = ops.broadcast(leaf(i, (1, y.shape[1], *(1 for _ in y.shape[2:]))), shape=y.shape)
    return ops.add(y, bias)


def relu(x: Node) -> Node:
    return ops.maximum(x, ops.const(value=0.0, shape=x.shape, dtype=x.dtype))
