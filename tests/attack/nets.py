"""Random nets as `.net` text, for differential testing: all kinds of layers, one to twenty of them, that are valid.

A net grows value by value: a layer is drawn of those that can take the shape of a value that is there. Numbers stay
near 1, so that what is compared in single precision is no rounding: products have fillers by fan-in, powers and
logarithms get what is above 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

Shape = tuple[int, ...]  # without the batch
MOST_ELEMENTS = 1500  # of a record
CLASSES = 3


@dataclass
class Growing:
    """A net while it grows: its statements, and the shapes of its values by name."""

    random: Random
    lines: list[str] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)

    def bind(self, text: str, shape: Shape) -> str:
        """A new value."""
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        self.shapes[name] = shape
        return name

    def pick(self, *, rank: int = 0) -> str:
        """A value, mostly a late one. rank: of those that have so many axes after the batch, if there are any."""
        names = [name for name, shape in self.shapes.items() if not rank or len(shape) == rank] or [*self.shapes]
        return names[-1] if self.random.random() < 0.7 else self.random.choice(names)


Layer = Callable[[Growing, str, Shape], "str | None"]


def size_of(size: int, kernel: int, stride: int, pad: int, dilation: int = 1, *, up: bool = False) -> int:
    """How many places a window has along an axis."""
    room = size + 2 * pad - dilation * (kernel - 1) - 1
    count = (math.ceil(room / stride) if up else room // stride) + 1
    return count - 1 if up and pad and (count - 1) * stride >= size + pad else count


def conv(net: Growing, x: str, shape: Shape) -> str | None:
    random = net.random
    if len(shape) != 3:
        return None
    channels, *space = shape
    group = random.choice([g for g in (1, 1, 2, 3) if channels % g == 0])
    out = group * random.randint(1, 3)
    kernel, stride = random.randint(1, min(4, *space)), random.choice((1, 1, 2, 3))
    pad, dilation = random.randint(0, kernel - 1), random.choice((1, 1, 1, 2))
    after = [size_of(n, kernel, stride, pad, dilation) for n in space]
    if min(after) < 1:
        return None
    more = "".join((f", group: {group}" * (group > 1), f", dilation: {dilation}" * (dilation > 1)))
    more += random.choice(("", "", ", bias: none", ", bias: gaussian(std: 0.3)", ", lr: [1, 2]", ", decay: [1, 0]"))
    text = f"{x} |> conv({out}, {kernel}, stride: {stride}, pad: {pad}{more}, weight: msra())"
    return net.bind(text, (out, *after))


def deconv(net: Growing, x: str, shape: Shape) -> str | None:
    random = net.random
    if len(shape) != 3:
        return None
    channels, *space = shape
    group = random.choice([g for g in (1, 1, 2) if channels % g == 0])
    out, kernel, stride = group * random.randint(1, 2), random.randint(1, 3), random.randint(1, 2)
    pad = random.randint(0, (kernel - 1) // 2)
    after = [stride * (n - 1) + kernel - 2 * pad for n in space]
    more = f", group: {group}" if group > 1 else ""
    return net.bind(
        f"{x} |> deconv({out}, {kernel}, stride: {stride}, pad: {pad}{more}, weight: msra())", (out, *after)
    )


def pool(net: Growing, x: str, shape: Shape) -> str | None:
    random = net.random
    if len(shape) != 3:
        return None
    channels, *space = shape
    kind = random.choice(("max_pool", "avg_pool"))
    if random.random() < 0.15:
        return net.bind(f"{x} |> {kind}(global: true)", (channels, 1, 1))
    kernel = random.randint(1, min(3, *space))
    stride, pad = random.randint(1, 3), random.randint(0, kernel - 1)
    up = stride <= kernel and random.random() < 0.5  # else a last window may lie beside the input
    after = [size_of(n, kernel, stride, pad, up=up) for n in space]
    how = "ceil" if up else "floor"
    return net.bind(f"{x} |> {kind}({kernel}, stride: {stride}, pad: {pad}, round: {how})", (channels, *after))


def spp(net: Growing, x: str, shape: Shape) -> str | None:
    if len(shape) != 3 or min(shape[1:]) < 2:
        return None
    return net.bind(f"{x} |> spp(2, pool: {net.random.choice(('max', 'avg'))})", (shape[0] * 5,))


def linear(net: Growing, x: str, shape: Shape) -> str | None:
    out = net.random.randint(1, 8)
    more = net.random.choice(("", ", bias: none", ", transpose: true", ", lr: 2", ", decay: 0"))
    return net.bind(f"{x} |> linear({out}{more}, weight: xavier())", (out,))


def normed(net: Growing, x: str, shape: Shape) -> str | None:
    random = net.random
    found = ["batch_norm", "batch_norm(affine: false, eps: 0.1)", "softmax", "dropout(0.3)"]
    if len(shape) == 3:
        found += ["lrn(3, alpha: 0.5)", "lrn(3, alpha: 0.5, region: within)", "mvn(eps: 0.1)"]
        found += ["mvn(across_channels: true, eps: 0.1)", "mvn(normalize_variance: false)"]
        found += ["batch_norm(use_global_stats: true)"]
    return net.bind(f"{x} |> {random.choice(found)}", shape)


ACTIVATIONS = (
    *("relu", "relu(0.1)", "prelu", "prelu(channel_shared: true)", "elu(alpha: 0.7)", "sigmoid", "tanh", "softplus"),
    *("swish", "clip(min: -0.5, max: 1.5)", "abs", "threshold(0.1)", "scale", "scale(bias: true)", "bias", "detach"),
    *("power(scale: 0.5, shift: 0.25)", "power(power: 2)", "cast(f64) |> cast(f32)", "bias(axis: 0, num_axes: 0)"),
)


def activation(net: Growing, x: str, shape: Shape) -> str | None:
    return net.bind(f"{x} |> {net.random.choice(ACTIVATIONS)}", shape)


EXPRESSIONS = (
    *("{x} * 0.5 + 1", "1 - {x}", "-{x}", "tanh({x}) ** 2", "exp(tanh({x}))", "log(abs({x}) + 0.5)", "{x} / 3"),
    *("sqrt(abs({x}) + 0.1)", "(abs({x}) + 0.5) ** -0.75", "1 / (abs({x}) + 1)", "max({x}, 0.25)", "min({x}, 0.5)"),
    *("where({x} > 0.1, {x}, {x} * 0.2)", "{x} - floor({x})", "{x} - mean({x})", "{x} * (sum({x} ** 2) + 1) ** -0.5"),
    *("{x} - mean({x}, axis: 0, keepdims: true)", "{x} + max({x}, axis: -1, keepdims: true)"),
    *("{x} * sigmoid({x} * 1.7)", "softplus({x}) * 0.5 - {x}", "exp(-{x} * {x})", "exp(min({x}, 1), base: 2)"),
    *("{x} - max({x})", "where({x} == max({x}, axis: -1, keepdims: true), {x}, 0)"),
)


def expression(net: Growing, x: str, shape: Shape) -> str | None:
    return net.bind(net.random.choice(EXPRESSIONS).format(x=x), shape)


PAIRS = (
    *("{x} + {y}", "{x} * {y}", "{x} - {y} * 0.5", "max({x}, {y})", "min({x}, {y})", "eltwise({x}, {y})"),
    *("eltwise({x}, {y}, operation: prod)", "eltwise({x}, {y}, operation: max)", "where({x} > {y}, {x}, {y} + 1)"),
    *("eltwise({x}, {y}, {x}, coeff: [0.5, -1, 2])", "{x} / (abs({y}) + 1)", "scale({x}, by: {y}, axis: 0)"),
)


def pair(net: Growing, x: str, shape: Shape) -> str | None:
    y = net.random.choice([name for name, other in net.shapes.items() if other == shape])
    return net.bind(net.random.choice(PAIRS).format(x=x, y=y), shape)


def moved(net: Growing, x: str, shape: Shape) -> str | None:
    random, count = net.random, math.prod(shape)
    how = random.choice(("concat", "split", "flatten", "reshape", "tile", "crop", "reduce", "im2col"))
    if how == "concat":
        axis = random.randrange(len(shape))
        fits = [n for n, s in net.shapes.items() if len(s) == len(shape) and _but(s, axis) == _but(shape, axis)]
        y = random.choice(fits)
        joined = shape[axis] + net.shapes[y][axis]
        return net.bind(f"concat({x}, {y}, axis: {axis + 1})", (*shape[:axis], joined, *shape[axis + 1 :]))
    if how == "split" and shape[0] > 1:
        at = random.randint(1, shape[0] - 1)
        first, second = f"s{len(net.lines)}", f"r{len(net.lines)}"
        net.lines.append(f"{first}, {second} = split({x}, at: [{at}])")
        net.shapes[first], net.shapes[second] = (at, *shape[1:]), (shape[0] - at, *shape[1:])
        return second
    if how == "flatten":
        return net.bind(f"{x} |> flatten", (count,))
    if how == "reshape":
        rows = random.choice([n for n in range(1, count + 1) if count % n == 0])
        return net.bind(f"reshape({x}, [0, {rows}, -1])", (rows, count // rows))
    if how == "tile" and count < 300:
        axis = random.randrange(len(shape))
        tiled = (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
        return net.bind(f"tile({x}, 2, axis: {axis + 1})", tiled)
    if how == "crop" and len(shape) == 3:
        fits = [n for n, s in net.shapes.items() if len(s) == 3 and all(map(int.__le__, s[1:], shape[1:]))]
        like = random.choice(fits)
        return net.bind(f"crop({x}, {like})", (shape[0], *net.shapes[like][1:]))
    if how == "reduce" and len(shape) > 1:
        kind = random.choice(("sum", "mean", "max", "min"))
        axis = random.randrange(len(shape))
        scale = " * 0.2" if kind == "sum" else ""
        return net.bind(f"{kind}({x}, axis: {axis + 1}){scale}", (*shape[:axis], *shape[axis + 1 :]))
    if how == "im2col" and len(shape) == 3 and count < 200:
        kernel = random.randint(1, min(3, *shape[1:]))
        after = [size_of(n, kernel, 1, 0) for n in shape[1:]]
        return net.bind(f"{x} |> im2col({kernel})", (shape[0] * kernel * kernel, *after))
    return None


def _but(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


LAYERS: tuple[Layer, ...] = (
    *(conv, conv, conv, pool, pool, normed, normed, activation, activation, activation, linear, deconv, spp),
    *(expression, expression, pair, pair, moved, moved),
)
SOLVERS = (
    *("sgd(lr: 0.1, momentum: 0.9, weight_decay: 0.01)", "sgd(lr: 0.1)", "nesterov(lr: 0.05)", "adagrad(lr: 0.1)"),
    *("sgd(lr: 0.1, weight_decay: 0.01, decay: l1)", "rmsprop(lr: 0.01)", "adadelta(weight_decay: 0.01)"),
    *("adam(lr: 0.01)", "adamw(lr: 0.01, weight_decay: 0.1)"),
)


def _ends(net: Growing) -> list[str]:
    """Losses, a metric and an output: mostly of the last value."""
    random = net.random
    x = net.pick()
    other = random.choice([*net.shapes])
    target = random.choice([name for name, shape in net.shapes.items() if shape == net.shapes[x]])
    kinds = {
        "softmax": ["loss l0 = softmax_loss(scores, label)"],
        "valid": ["loss l0 = softmax_loss(scores, label, ignore: 1, normalization: batch_size)"],
        "hinge": [f"loss l0 = hinge_loss(scores, label, norm: {random.choice(('l1', 'l2'))})"],
        "sigmoid": [f"loss l0 = sigmoid_loss(scores, sigmoid(linear({other}, {CLASSES})))"],
        "euclidean": [f"loss l0 = euclidean_loss({x}, detach({target}) * 0.5)"],
        "contrastive": [f"loss l0 = contrastive_loss(scores, linear({other}, {CLASSES}), label)"],
        "multinomial": ["loss l0 = multinomial_loss(softmax(scores), label)"],
        "mean": [f"loss(weight: 0.3) l0 = mean({x} ** 2) + mean(abs(scores))"],
    }
    lines = [f"scores = {x} |> linear({CLASSES}, weight: xavier())", *kinds[random.choice(list(kinds))]]
    text = " ".join(lines + net.lines)
    left = [name for name in net.shapes if len(re.findall(rf"\b{name}\b", text)) < 2]
    if left and random.random() < 0.7:  # nothing reads them, so nothing would be computed of them
        lines.append(f"loss(weight: 0.5) l1 = {' + '.join(f'mean({name} * {name})' for name in left[:6])}")
    lines += random.choice(([], ["metric top1 = accuracy(scores, label)"], ["metric most = max(scores)"]))
    return [*lines, "output prob = softmax(scores)", *random.choice(([], [f"output also = {other}"]))]


@dataclass(frozen=True)
class RandomNet:
    """A net's text, and how many records it takes at a time."""

    text: str
    batch: int


def random_net(random: Random, most: int = 20) -> RandomNet:
    """A net `n` of up to `most` statements, with a loss of one of eight kinds, and often a `train` block."""
    batch = random.choice((5, 8, 16, 33, 64)) if random.random() < 0.2 else random.choice((1, 2, 3, 4))
    net = Growing(random)
    first: Shape = (random.choice((1, 2, 3, 4)), random.randint(3, 9), random.randint(3, 9))
    if random.random() < 0.15:
        first = (random.randint(1, 30),)
    net.shapes["image"] = first
    wanted = random.randint(1, most)
    for _ in range(4 * wanted):
        if len(net.lines) >= wanted:
            break
        x = net.pick(rank=random.choice((0, 3, 3)))
        random.choice(LAYERS)(net, x, net.shapes[x])
        large = [name for name, shape in net.shapes.items() if not 0 < math.prod(shape) <= MOST_ELEMENTS]
        for name in large:
            del net.shapes[name]  # nothing more is made of it
    shape = ", ".join(map(str, first))
    body = [f"input image: f32[N, {shape}]", "input label: i32[N]", *net.lines, *_ends(net)]
    parts = ["net n {", *(f"    {line}" for line in body), "}"]
    if random.random() < 0.6:
        data = f"data d = synthetic(shape: [{shape}], classes: {CLASSES}, batch: {batch})"
        more = random.choice(([], [], ["clip: 0.5"], ["accumulate: 2"]))
        keys = ["from: d", f"solver: {random.choice(SOLVERS)}", "steps: 3", *more]
        parts += [data, "train n {", *(f"    {key}" for key in keys), "}"]
    return RandomNet("\n".join(parts) + "\n", batch)
