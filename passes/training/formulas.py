"""The formulas of the solvers: what is taken from the parameters, and the next histories, given gradient and rate.

Sources: Caffe's `src/caffe/solvers/*.cpp`, which these follow term by term; AdamW by Loshchilov and Hutter, 2019. Their
settings are in `compiler/schema/solvers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...compiler import expr, ops
from ...compiler.graph import Node
from ...compiler.packages import Registry
from ...compiler.schema.solvers import Solver
from ...compiler.spec import Use

Histories = tuple[Node, ...]


@dataclass(frozen=True)
class Scalars:
    """What is the same for all elements of a range: settings, rate times multiplier, the step (f64, from 1), decay."""

    solver: Use
    rate: Node
    time: Node
    decay: float

    def __getitem__(self, key: str) -> float:
        return float(self.solver[key])


@dataclass(frozen=True)
class Formula:
    """step(scalars, w, g, histories) -> (what is taken from w, next histories).

    histories: how many flat buffers it keeps. decoupled: it applies the decay itself.
    """

    step: Callable[[Scalars, Node, Node, Histories], tuple[Node, Histories]]
    histories: Callable[[Use], int]
    decoupled: bool = False


def _sgd(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    if not kept:
        return g * s.rate, ()
    v = kept[0] * s["momentum"] + g * s.rate
    return v, (v,)


def _nesterov(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    v = kept[0] * s["momentum"] + g * s.rate
    return v * (1 + s["momentum"]) - kept[0] * s["momentum"], (v,)


def _adagrad(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    h = kept[0] + g * g
    return g / (ops.sqrt(h) + s["delta"]) * s.rate, (h,)


def _mean(old: Node, value: Node, decay: float) -> Node:
    return old * decay + value * (1 - decay)


def _rmsprop(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    h = _mean(kept[0], g * g, s["rms_decay"])
    return g / (ops.sqrt(h) + s["delta"]) * s.rate, (h,)


def _adadelta(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    h = _mean(kept[0], g * g, s["momentum"])
    u = g * ops.sqrt((kept[1] + s["delta"]) / (h + s["delta"]))
    return u * s.rate, (h, _mean(kept[1], u * u, s["momentum"]))


def _remaining(s: Scalars, key: str) -> Node:
    """1 - momentum^t."""
    return 1.0 - expr.pow(s[key], s.time)


def _adam(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    m = _mean(kept[0], g, s["momentum"])
    v = _mean(kept[1], g * g, s["momentum2"])
    correction = expr.cast(ops.sqrt(_remaining(s, "momentum2")) / _remaining(s, "momentum"), w.dtype)
    return m / (ops.sqrt(v) + s["delta"]) * (s.rate * correction), (m, v)


def _adamw(s: Scalars, w: Node, g: Node, kept: Histories) -> tuple[Node, Histories]:
    m = _mean(kept[0], g, s["momentum"])
    v = _mean(kept[1], g * g, s["momentum2"])
    first = expr.cast(1.0 / _remaining(s, "momentum"), w.dtype)
    second = expr.cast(1.0 / ops.sqrt(_remaining(s, "momentum2")), w.dtype)
    step = m / (ops.sqrt(v) * second + s["delta"]) * (s.rate * first)
    return step + w * (s.rate * s.decay) if s.decay else step, (m, v)


OWN = {
    "sgd": Formula(_sgd, lambda solver: 1 if solver["momentum"] else 0),
    "nesterov": Formula(_nesterov, lambda _: 1),
    "adagrad": Formula(_adagrad, lambda _: 1),
    "rmsprop": Formula(_rmsprop, lambda _: 1),
    "adadelta": Formula(_adadelta, lambda _: 2),
    "adam": Formula(_adam, lambda _: 2),
    "adamw": Formula(_adamw, lambda _: 2, decoupled=True),
}


def _of_a_package(found: Solver) -> Formula:
    if not isinstance(found.formula, Formula):
        raise TypeError("its formula is no `Formula`")
    return found.formula


FORMULAS: Registry[Formula] = Registry("netc.solvers", OWN, _of_a_package)
