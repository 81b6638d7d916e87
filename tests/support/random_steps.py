"""Training steps of random small nets: convolution, pooling, norms, a solver, in odd sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.passes.training.gradient import erase_surrogate, gradient

Make = Callable[..., Node]


def convolution(x: Node, random: Random, parameter: Make) -> Node:
    channels, size = x.shape[1], min(x.shape[2:])
    groups = random.choice([1, 2]) if channels % 2 == 0 else 1
    kernel = random.randint(1, min(3, size))
    out = 2 * random.randint(1, 3)
    w, b = parameter(out, channels // groups, kernel, kernel), parameter(1, out, 1, 1)
    pad = (random.randint(0, kernel - 1), 0)
    return ops.conv(x, w, stride=(random.randint(1, 2), 1), pad=pad, dilation=(1, 1), groups=groups) + b


def windows(x: Node, random: Random, fill: float) -> Node:
    pad = random.randint(0, 1)
    padded = ops.pad(x, low=(0, 0, pad, pad), high=(0, 0, pad + 1, pad + 1), interior=(0,) * 4, value=fill)
    kernel, stride = random.randint(2, 3), random.randint(1, 3)
    return ops.window(padded, axes=(2, 3), sizes=(kernel,) * 2, strides=(stride,) * 2, dilations=(1, 1))


def largest(x: Node, random: Random, parameter: Make) -> Node:
    return expr.max(windows(x, random, -math.inf), (4, 5))


def average(x: Node, random: Random, parameter: Make) -> Node:
    return expr.sum(windows(x, random, 0.0), (4, 5)) * 0.2


def batch_norm(x: Node, random: Random, parameter: Make) -> Node:
    centred = x - expr.mean(x, (0, 2, 3), keepdims=True)
    variance = expr.mean(centred * centred, (0, 2, 3), keepdims=True)
    return centred / ops.sqrt(variance + 0.1) * parameter(1, x.shape[1], 1, 1)


def across_channels(x: Node, random: Random, parameter: Make) -> Node:
    edge = (0, 1, 0, 0)
    squares = ops.pad(x * x, low=edge, high=edge, interior=(0,) * 4, value=0.0)
    seen = ops.window(squares, axes=(1,), sizes=(3,), strides=(1,), dilations=(1,))
    return x * expr.pow(expr.sum(seen, (4,)) * 0.3 + 1.0, -0.75)


def joined(x: Node, random: Random, parameter: Make) -> Node:
    return ops.concat(x, ops.tanh(x), axis=1)


def rectified(x: Node, random: Random, parameter: Make) -> Node:
    return expr.maximum(x, 0.0)


LAYERS = [convolution, convolution, largest, average, batch_norm, across_channels, joined, rectified]


def training_step(random: Random) -> Graph:
    """Loss, gradients and the momentum update of a net of a few random layers."""
    names: list[str] = []

    def parameter(*shape: int) -> Node:
        names.append(f"p{len(names)}")
        return ops.param(name=names[-1], shape=shape, dtype="f32")

    batch, size = random.choice([1, 3, 7, 16, 20, 32]), random.choice([6, 7, 9])
    x = ops.input_(name="x", shape=(batch, random.choice([1, 2, 4]), size, size), dtype="f32")
    for _ in range(random.randint(1, 4)):
        if min(x.shape[2:]) >= 3:
            x = random.choice(LAYERS)(x, random, parameter)
    flat = expr.reshape(x, (batch, x.type.count // batch))
    hidden = expr.maximum(ops.dot(flat, ops.transpose(parameter(6, flat.shape[1]), perm=(1, 0))) + parameter(1, 6), 0.0)
    scores = ops.dot(hidden, parameter(6, 3))
    shifted = scores - expr.stop(expr.max(scores, 1, keepdims=True))
    loss = expr.mean(ops.log(expr.sum(ops.exp(shifted), 1, keepdims=True)) - shifted, (0, 1))
    graph = erase_surrogate(gradient(names)(Graph({"loss": loss, ".objective": loss})))
    updates: dict[str, Node] = {}
    for name in names:
        w = graph.params[name]
        history = ops.param(name=f"h{name}", shape=w.shape, dtype="f32") * 0.9
        following = history + (graph.outputs[f"{name}.grad"] + w * 0.01) * 0.1
        updates |= {f"h{name}": following, name: w - following}
    return Graph({"loss": graph.outputs["loss"]}, updates)
