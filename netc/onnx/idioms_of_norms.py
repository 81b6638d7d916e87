"""Idioms of normalization: softmax, local response normalization, batch normalization with what scales it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.ops.source import splat
from ..passes.rules.pattern import constant, number, of, var
from .idioms_of_windows import CLOSE
from .matching import X, bare, known, match, spread, vector
from .writer import Idiom, Spelling, Value, Writer


def _softmax(w: Writer, node: Node) -> Spelling | None:
    """exp(x - max x) / sum exp(x - max x), along one axis"""
    raised = of(ops.exp, of(ops.add, X, of(ops.neg, spread(of(ops.max_reduce, X, name="top")))), name="e")
    total = of(ops.sum_, var("e"), name="total")
    one = of(ops.div, number(1.0), total)
    found = match(node, of(ops.mul, raised, spread(one))) or match(node, of(ops.div, raised, spread(total)))
    if found is None or len(found["top"].attrs["axes"]) != 1:
        return None
    (axis,) = found["top"].attrs["axes"]
    if found["total"].attrs["axes"] != (axis,):
        return None
    x = found["x"]
    return Spelling([x], lambda w: (w.node("Softmax", [w.full(x)], axis=axis), w.sizes.shape(node)))


def _lrn(w: Writer, node: Node) -> Spelling | None:
    """x * (k + alpha / n * sum of x ** 2 over channels) ** -beta"""
    squares = of(ops.pad, of(ops.mul, X, X), name="pad")
    total = of(ops.reshape, of(ops.sum_, of(ops.window, squares, name="window")))
    base = of(ops.add, of(ops.mul, total, constant("alpha")), constant("k"))
    found = match(node, of(ops.mul, X, of(ops.pow_, base, constant("beta"))))
    if found is None or len(node.shape) != 4 or node.dtype != "f32":
        return None
    window, edge = found["window"].attrs, found["pad"].attrs
    size = window["sizes"][0]
    side = (0, size // 2, 0, 0)
    if window["axes"] != (1,) or edge["value"] != 0 or edge["low"] != side or edge["high"] != side:
        return None
    if window["strides"] != (1,) or window["dilations"] != (1,) or any(edge["interior"]):
        return None
    alpha, bias, beta = (splat(found[key]) or 0.0 for key in ("alpha", "k", "beta"))
    x = found["x"]

    def write(w: Writer) -> Value:
        how = {"alpha": alpha * size, "beta": -beta, "bias": bias, "size": size}
        return w.node("LRN", [w.full(x)], **how), w.sizes.shape(node)

    return Spelling([x], write)


@dataclass(frozen=True)
class _Normal:
    """x * scale + shift with the numbers of each channel that they are made of; None where there are none."""

    x: Node
    mean: Node
    variance: Node
    eps: float
    weight: Node | None
    bias: Node | None

    def form(self, node: Node) -> Spelling:
        def write(w: Writer) -> Value:
            channels = int(node.shape[1])
            ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
            given = [w.constant(ones) if self.weight is None else known(w, self.weight)]
            given += [w.constant(zeros) if self.bias is None else known(w, self.bias)]
            given += [known(w, self.mean), known(w, self.variance)]
            made = w.node("BatchNormalization", [w.full(self.x), *given], epsilon=self.eps)
            return made, w.sizes.shape(node)

        return Spelling([self.x], write)


_DEVIATION = of(ops.sqrt, of(ops.add, var("variance"), constant("eps")))
_INVERSE = of(ops.reshape, of(ops.div, number(1.0), _DEVIATION))
_CENTRED = of(ops.neg, of(ops.mul, var("mean"), var("scale")))


def _normal(w: Writer, node: Node) -> _Normal | None:
    found = match(node, of(ops.add, of(ops.mul, X, var("scale")), var("shift")))
    rank = len(node.shape)
    if found is None or node.dtype != "f32" or rank < 2 or w.fixed(found["x"]):
        return None
    scale, shift = bare(found["scale"]), bare(found["shift"])
    if not (w.fixed(scale) and w.fixed(shift)):
        return None
    scaled = match(scale, of(ops.mul, _INVERSE, var("weight"))) or match(scale, _INVERSE)
    placed = match(shift, of(ops.add, _CENTRED, var("bias"))) or match(shift, _CENTRED)
    if scaled is None or placed is None or placed["scale"] is not scale:
        return None
    named = {**scaled, **placed}
    parts = {key: vector(w, named[key], 1, rank) for key in ("weight", "bias", "mean") if key in named}
    mean, eps = parts["mean"], splat(scaled["eps"]) or 0.0
    if mean is None or None in parts.values():
        return None
    return _Normal(found["x"], mean, scaled["variance"], eps, parts.get("weight"), parts.get("bias"))


def _batch_norm(w: Writer, node: Node) -> Spelling | None:
    """(x - mean) / sqrt(variance + eps) * weight + bias, of statistics that are known."""
    found = _normal(w, node)
    return found.form(node) if found is not None else None


def _batch_norm_scaled(w: Writer, node: Node) -> Spelling | None:
    """A normalization without a weight, followed by `scale` with a bias: Caffe's two layers."""
    outer = match(node, of(ops.add, of(ops.mul, of(ops.add, name="normal"), var("weight")), var("bias")))
    inner = _normal(w, outer["normal"]) if outer is not None else None
    if outer is None or inner is None or inner.weight is not None or inner.bias is not None:
        return None
    weight, bias = (vector(w, outer[key], 1, len(node.shape)) for key in ("weight", "bias"))
    return replace(inner, weight=weight, bias=bias).form(node) if weight is not None and bias is not None else None


_MEAN = of(ops.mul, of(ops.sum_, X, name="summed"), constant("share"))
_MOVED = of(ops.add, X, of(ops.neg, spread(_MEAN)))
_SPREAD = of(ops.mul, of(ops.sum_, of(ops.mul, _MOVED, _MOVED), name="squares"), constant("share2"))
_UNIT = of(ops.div, number(1.0), of(ops.sqrt, of(ops.add, _SPREAD, constant("eps"))))


def _layer_norm(w: Writer, node: Node) -> Spelling | None:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axes."""
    ends = of(ops.mul, of(ops.mul, _MOVED, spread(_UNIT)), var("weight"))
    found = match(node, of(ops.add, ends, var("bias")))
    rank = len(node.shape)
    if found is None or node.dtype != "f32":
        return None
    axes, first = found["summed"].attrs["axes"], found["summed"].attrs["axes"][0]
    count = math.prod(int(n) for n in node.shape[first:])
    shares = [abs((splat(found[key]) or 0.0) * count - 1) for key in ("share", "share2")]
    if axes != tuple(range(first, rank)) or found["squares"].attrs["axes"] != axes or max(shares) > CLOSE:
        return None
    weight, bias = (_last(w, found[key], first) for key in ("weight", "bias"))
    if weight is None or bias is None:
        return None
    x, eps = found["x"], splat(found["eps"]) or 0.0

    def write(w: Writer) -> Value:
        operands = [w.full(x), known(w, weight), known(w, bias)]
        return w.node("LayerNormalization", operands, axis=first, epsilon=eps), w.sizes.shape(node)

    return Spelling([x], write)


def _last(w: Writer, node: Node, first: int) -> Node | None:
    """The numbers, of the last axes alone, that a fixed node spreads; None where it does something else."""
    inner = bare(node)
    if not w.fixed(inner) or len(inner.shape) != len(node.shape) or inner.shape[first:] != node.shape[first:]:
        return None
    if any(n != 1 for n in inner.shape[:first]):
        return None
    shape = tuple(inner.shape[first:])
    own = inner.op is ops.reshape and inner.inputs[0].shape == shape
    return inner.inputs[0] if own else ops.reshape(inner, shape=shape)


MUL: tuple[Idiom, ...] = (_softmax, _lrn)
DIV: tuple[Idiom, ...] = (_softmax,)
ADD: tuple[Idiom, ...] = (_batch_norm, _batch_norm_scaled, _layer_norm)
