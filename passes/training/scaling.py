"""Loss scaling for f16, whose smallest numbers are larger than many gradients: the loss is multiplied by a scale before
it is differentiated, and the gradients of parameters are divided by it in f32.

The scale is state. A step whose gradients are not finite changes nothing else and halves it; after `growth` good steps
in a row it doubles. Both are part of the graph, so that every target has them without asking the host. bf16 has the
range of f32 and needs none of this. Source: Micikevicius et al., "Mixed precision training", 2018, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...compiler import expr, ops
from ...compiler.graph import Graph, Node
from ...compiler.program import StateInfo
from ...compiler.spec import Filler
from ...compiler.types import TensorType
from ..manager import Pass
from .gradient import GRADIENT

SCALE = ".scale"
GOOD = ".good"
# Where halving and doubling end, so that the scale and its reciprocal stay numbers whatever happens.
LEAST, LARGEST = 2.0**-24, 2.0**24
# The scale of gradients that are only looked at.
FIXED = 2.0**10


@dataclass(frozen=True)
class Scaling:
    """The first scale, and how many good steps double it."""

    initial: float = 2.0**16
    growth: int = 2000


def scaling_state(scaling: Scaling) -> tuple[StateInfo, ...]:
    """The scale, and the good steps since it last changed. Neither is saved with weights; both are in snapshots."""
    first = Filler("constant", (("value", scaling.initial),))
    zero = Filler("constant", (("value", 0.0),))
    return (
        StateInfo(SCALE, TensorType((), "f32"), "statistic", first, buffer=SCALE),
        StateInfo(GOOD, TensorType((), "i64"), "counter", zero, buffer=GOOD),
    )


def scale_of(graph: Graph) -> Node:
    """The scale that a graph reads."""
    return graph.params.get(SCALE) or ops.param(name=SCALE, shape=(), dtype="f32")


def fixed_scale(graph: Graph) -> Node:
    """The scale where nothing is learned, so that there is no state to keep one in."""
    return ops.const(value=FIXED, shape=(), dtype="f32")


def unscale(wrt: Sequence[str]) -> Pass:
    """A pass that divides the gradients among the outputs by the fixed scale."""

    def run(graph: Graph) -> Graph:
        """Divide by the fixed scale."""
        names = {name + GRADIENT for name in wrt}
        outputs = {k: x * (1.0 / FIXED) if k in names else x for k, x in graph.outputs.items()}
        return graph.with_roots(outputs)

    return run


class OverflowGuard:
    """What a step does about a scaled loss. gradients: as they came; scaled: times the scale.

    inverse: what gradients are multiplied by to be those of the loss. finite: a bool, whether none is infinite or NaN.
    """

    def __init__(self, gradients: Node, scale: Node, *, scaled: bool = True) -> None:
        self.scale = scale
        self.inverse = 1.0 / scale if scaled else None
        strange = expr.where(expr.less(ops.abs_(gradients), math.inf), expr.constant(0.0, gradients), 1.0)
        self.finite = expr.equal(expr.sum(strange), 0.0)

    def only(self, value: Node, old: Node) -> Node:
        """The next value of a state, or the old one where a gradient is not finite."""
        return ops.where(expr.broadcast_to(self.finite, value.shape), value, old)

    def updates(self, graph: Graph, more: Mapping[str, Node]) -> dict[str, Node]:
        """The updates of a graph and more of them, that happen only if the gradients are finite."""
        old = {**Graph(more).params, **graph.params}
        found = {}
        for name, value in {**graph.updates, **more}.items():
            state = old.get(name) or ops.param(name=name, shape=value.shape, dtype=value.dtype)
            found[name] = self.only(value, state)
        return found

    def next(self, scaling: Scaling) -> dict[str, Node]:
        """The next values of the scale and of the count of good steps."""
        more = ops.param(name=GOOD, shape=(), dtype="i64") + 1
        full, none = expr.equal(more, scaling.growth), expr.constant(0, more)
        grown = expr.where(full, expr.minimum(self.scale * 2.0, LARGEST), self.scale)
        return {
            SCALE: expr.where(self.finite, grown, expr.maximum(self.scale * 0.5, LEAST)),
            GOOD: expr.where(self.finite, expr.where(full, none, more), none),
        }
