"""Products for Triton, each written as a kernel of its own; and the graphs of products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netc.compiler import ops
from netc.compiler.codegen.loops.place import Place
from netc.compiler.codegen.loops.written import Written
from netc.compiler.codegen.strides import strides_of
from netc.compiler.codegen.triton.product import write_product
from netc.compiler.graph import Graph, Node
from netc.compiler.kernel import Blocks
from netc.compiler.loops.domain import domain_of
from netc.compiler.program import Buffer, Function, Launch, Program
from netc.compiler.types import TensorType

Sizes = tuple[int, ...]
LAST = (0, 2, 3, 1)


def leaf(i: int, shape: Sizes, dtype: str = "f32") -> Node:
    return ops.input_(name=f"in{i}", shape=shape, dtype=dtype)


def place(name: str, node: Node, order: Sequence[int] | None) -> Place:
    shape = tuple(map(int, node.shape))
    return Place(name, shape, strides_of(shape, order or range(len(shape))), node.dtype, count=node.type.count)


def written(graph: Graph, blocks: Blocks, orders: Mapping[str, Sequence[int]]) -> Written:
    """orders: how operands and results lie in memory, where that is not row-major."""
    inputs = {int(name[2:]): node for name, node in graph.inputs.items()}
    unread = leaf(0, ())
    operands = [place(f"in{i}", inputs.get(i, unread), orders.get(f"in{i}")) for i in range(max(inputs) + 1)]
    results = [place(name, node, orders.get(name)) for name, node in graph.outputs.items()]
    return write_product(graph, domain_of(graph), blocks, operands, results)


def program_of(kernel: Written, stored: Mapping[str, TensorType], results: Sequence[str]) -> Program:
    """A program of one launch. stored: what each pointer points to, as it lies in memory."""
    helpers = "\n\n".join(text for _, text in kernel.helpers)
    source = f'"""A product."""\nimport triton\nimport triton.language as tl\n\n{helpers}\n\n{kernel.text}'
    source = source.replace("NAME", "product", 1)
    function = Function(
        "product", kernel.kind, source, kernel.key, kernel.arguments, kernel.constants, kernel.warps, kernel.stages
    )
    names = tuple(p.name for p in kernel.places)
    inputs = {name: stored[name] for name in names if name not in results}
    buffers = [Buffer(name, type_, "input", 0, tuple(range(type_.rank))) for name, type_ in inputs.items()]
    end = 0
    for name in results:
        buffers.append(Buffer(name, stored[name], "arena", end, tuple(range(stored[name].rank))))
        end += -(-stored[name].nbytes // 64) * 64
    return Program(
        name="product",
        mode="test",
        target="triton",
        dims={},
        inputs=inputs,
        outputs={name: stored[name] for name in results},
        state={},
        updates=(),
        functions=(function,),
        launches=(Launch("product", names, (), (), 0, 0, "step", kernel.grid),),
        buffers=tuple(buffers),
        arena_bytes=end,
        source=source,
    )


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
