"""Nodes of a few small shapes, written shortly, for tests that say a graph in a line."""

from __future__ import annotations

from collections.abc import Callable

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.passes.rules.rewrite import merge_equal


def fed(name: str, *shape: int, dtype: str = "f32") -> Node:
    return ops.input_(name=name, shape=shape, dtype=dtype)


def state(name: str, *shape: int) -> Node:
    return ops.param(name=name, shape=shape, dtype="f32")


def x(*shape: int, name: str = "x", dtype: str = "f32") -> Node:
    return fed(name, *(shape or (2, 3)), dtype=dtype)


def y(*shape: int, dtype: str = "f32") -> Node:
    return x(*shape, name="y", dtype=dtype)


def z(*shape: int) -> Node:
    return x(*shape, name="z")


def w(*shape: int, name: str = "w") -> Node:
    return state(name, *shape)


def cond(name: str = "c") -> Node:
    return x(2, 3, name=name, dtype="bool")


def wide(node: Node, *shape: int) -> Node:
    return ops.broadcast(node, shape=shape)


def cut(node: Node, *ranges: tuple[int, int], step: int = 1) -> Node:
    return ops.slice_(
        node, start=tuple(a for a, _ in ranges), stop=tuple(b for _, b in ranges), step=(step,) * len(ranges)
    )


def pad(node: Node, low: tuple[int, ...], high: tuple[int, ...], value: float = 0.0) -> Node:
    return ops.pad(node, low=low, high=high, interior=(0,) * len(low), value=value)


def number(value: float | bool, *shape: int, dtype: str = "f32") -> Node:
    return ops.const(value=value, shape=shape or (2, 3), dtype=dtype)


def conv(data: Node, weight: Node, groups: int = 1, pad: int = 0) -> Node:
    return ops.conv(data, weight, stride=(1, 1), pad=(pad, pad), dilation=(1, 1), groups=groups)


def channels(node: Node, rank: int = 4) -> Node:
    return expr.reshape(node, (1, node.shape[0], *(1,) * (rank - 2)))


Build = Callable[[], Node]


def graph(build: Build) -> Graph:
    """A graph with one output; equal inputs are one node."""
    return merge_equal(Graph({"out": build()}))
