"""Gradient checking by differences: the gradient pass, and the rules of ops, beside the derivative of the loss itself.

The oracle cannot see a wrong gradient rule, which it evaluates as well. So the loss is evaluated in double precision at
two points near to the numbers of the subject, along a random direction of all parameters and inputs, and then of each
(uphill, or the slopes of its elements would cancel to little more than rounding):

    sum of gradient * direction  =  (loss(x + h direction) - loss(x - h direction)) / 2h + O(h^2)

Where a slope nearly cancels, as before batch norm, the term of h^2 is larger than it: differences over h and h / 2 are
extrapolated to 0 (Richardson), which leaves O(h^4).
What a layer declares as its gradient where Caffe's is not the derivative (`surrogate(value, path)`) is kept to: the
value stands as it is at x, and moves as the path does. A kink between the two points spoils a difference, and so does
rounding where they are too near: of the distances h at which rounding is small, the one counts that agrees best.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler import ops
from ..compiler.graph import Graph, Node
from ..compiler.interpret import evaluate
from ..compiler.net import OBJECTIVE
from ..compiler.value_ranges import VIEWS
from ..passes.training.flatten import learned
from ..passes.training.gradient import GRADIENT, gradient
from .budget import held
from .subject import Array, Arrays, Subject

DISTANCES = (1e-7, 1e-6, 1e-5, 1e-4)  # in units of a tensor's size: tiny weights have their kinks near to each other
TOLERANCE = 1e-4  # of the larger slope
CLOSE = TOLERANCE / 100  # so near that no other difference is asked for
ROUNDING = 4e-15  # of the loss's two values; divided by a distance, it must be small beside the slope
FLAT = 1e-4  # of the loss, for a step as long as a tensor: the gradient of a norm's square cancels to nothing
ALL = "all parameters and inputs"
SECONDS = 5.0  # after which no further tensor is looked at by itself


@dataclass(frozen=True)
class SlopeFault:
    """A tensor along which the gradient is not the derivative: the slopes by the one and by differences."""

    name: str
    layer: str
    by_gradient: float
    by_differences: float
    program: str = "derivatives"

    def __str__(self) -> str:
        where = f", layer {self.layer}" if self.layer else ""
        return (
            f"the gradient by {self.name}{where} is not the derivative of the loss: along a random direction it says "
            f"{self.by_gradient:.9g}, differences in float64 say {self.by_differences:.9g}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON, beside the message."""
        found = {"by_gradient": self.by_gradient, "by_differences": self.by_differences}
        return {"station": "gradient", "name": self.name, "layers": [self.layer], **found}


@dataclass(frozen=True)
class Slopes:
    """What was compared: along how many directions, the worst share of a slope, and those that are apart."""

    directions: int
    worst: float
    faults: tuple[SlopeFault, ...]

    def __str__(self) -> str:
        return (
            f"derivatives: gradients beside differences of the loss in float64, along {self.directions} directions: "
            f"the worst is {self.worst:.1e} apart"
        )


def slopes(subject: Subject) -> Slopes | None:
    """The gradient of a net beside differences; None where there is no loss, or nothing that it depends on."""
    forward = subject.made.net.graph
    if OBJECTIVE not in forward.outputs or subject.made.request.mode != "train" or not subject.step:
        return None
    graph = Graph({OBJECTIVE: forward.outputs[OBJECTIVE]})
    owners = {info.name: info.layer for info in learned(subject.made.layout)}
    tensors = {**{n: x for n, x in graph.params.items() if n in owners}, **graph.inputs}
    names = [name for name, x in tensors.items() if x.type.is_float and not _cut(graph, x)]
    if not names:
        return None
    feeds: Arrays = {name: held(node, subject.feeds[name]) for name, node in {**graph.params, **graph.inputs}.items()}
    found, _ = evaluate(gradient(names)(graph), feeds)
    rng = np.random.default_rng([subject.seed, 24])
    ways = {name: _way(rng, feeds[name], found[f"{name}{GRADIENT}"]) for name in names}
    base: dict[Node, Any] = {}
    loss = _loss(graph, feeds, base, first=True)
    faults: list[SlopeFault] = []
    worst, count, end = 0.0, 0, time.monotonic() + SECONDS
    for chosen in (names, *([name] for name in names)):
        if count and time.monotonic() > end:
            break
        want = float(sum(np.sum(found[f"{name}{GRADIENT}"] * ways[name]) for name in chosen))
        apart, by = np.inf, np.nan
        for distance in DISTANCES:
            if ROUNDING * (1 + abs(loss)) / distance > TOLERANCE / 10 * abs(want) and distance < DISTANCES[-1]:
                continue
            flat = (1 + abs(loss)) * max(ROUNDING / distance / TOLERANCE, FLAT)  # what is below this cancelled
            whole = np.nan
            for step in (distance, distance / 2):
                ends = [
                    _loss(graph, {**feeds, **{n: feeds[n] + sign * step * ways[n] for n in chosen}}, base)
                    for sign in (1, -1)
                ]
                slope = (ends[0] - ends[1]) / (2 * step)
                if step < distance:
                    slope = (4 * slope - whole) / 3
                whole = slope
                away = abs(slope - want) / max(abs(slope), abs(want), flat)
                if away < apart:
                    apart, by = away, slope
                if apart < CLOSE:
                    break
            if apart < CLOSE:
                break
        count, worst = count + 1, max(worst, float(apart))
        if not apart <= TOLERANCE and np.isfinite([want, by]).all():
            name = chosen[0] if len(chosen) == 1 else ALL
            faults.append(SlopeFault(name, owners.get(name, "" if name == ALL else name), want, float(by)))
    if count > len(names) or len(faults) > 1:  # each was looked at, or one is known, which says more than all of them
        faults = [fault for fault in faults if fault.name != ALL]
    return Slopes(count, worst, tuple(faults))


def _cut(graph: Graph, node: Node) -> bool:
    """Whether a tensor is only read as whole numbers, as labels of Caffe's are: the loss has steps there."""
    waiting, users = [node], graph.users
    for reached in waiting:
        for user in users[reached]:
            if user.op in VIEWS and user.type.is_float:
                waiting.append(user)
            elif user.op is not ops.cast:
                return False
    return True


def _way(rng: np.random.Generator, value: Array, slope: Array) -> Array:
    """A random direction of a tensor's size that goes uphill, so that its parts do not cancel to rounding."""
    size = float(np.sqrt(np.mean(np.square(value)))) if value.size else 0.0
    way = rng.standard_normal(value.shape) * (size if 0 < size < np.inf else 1.0)
    return np.where(slope == 0, way, np.abs(way) * np.sign(slope))


def _loss(graph: Graph, feeds: Mapping[str, Any], base: dict[Node, Any], *, first: bool = False) -> float:
    """The objective, in double precision. base: value and path of each `surrogate` at the point that `first` is at."""
    values: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for node in graph.order:
            if node.op.name in ("input", "param"):
                values[node] = feeds[node.attrs["name"]].reshape(node.shape)
                continue
            operands = [values[x] for x in node.inputs]
            if node.op is ops.surrogate and node.type.is_float:
                if first:
                    base[node] = operands
                value, path = base[node]
                values[node] = value + (operands[1] - path)
            else:
                values[node] = held(node, node.op.numpy(*operands, **node.attrs))
    return float(np.sum(values[graph.outputs[OBJECTIVE]]))
