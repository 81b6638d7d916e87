"""Comparison of one value of a target with the oracle, element by element against the error budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..compiler.graph import Node
from ..compiler.ops.rounding import SMALLEST, Arithmetic, Array, Bounded
from ..compiler.types import LARGEST

Kind = Literal["value", "gradient", "state", "kernel"]


@dataclass(frozen=True)
class Compared:
    """How a value of the target compares with the oracle's.

    name: of the value, which belongs to `layer`. error and budget: of the element that comes nearest to its budget, or
    goes farthest beyond it; ratio: the one by the other. scale: the largest magnitude. flips: elements that lie beyond
    the budget but where a decision within its bounds would leave them. wrong: those that nothing excuses, of `count`.
    at, want, got: the worst element.
    """

    name: str
    layer: str
    kind: Kind
    type: str
    count: int
    error: float
    budget: float
    ratio: float
    scale: float
    flips: int
    wrong: int
    at: tuple[int, ...]
    want: float
    got: float

    @property
    def ok(self) -> bool:
        return self.wrong == 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**{key: getattr(self, key) for key in self.__dataclass_fields__}, "at": list(self.at)}

    def __str__(self) -> str:
        place = f"[{', '.join(map(str, self.at))}]" if self.at else ""
        return (
            f"{self.name}{place} is {self.got:.9g}, the oracle says {self.want:.9g}: an error of {self.error:.2g}, "
            f"the budget is {self.budget:.2g} ({self.wrong:,} of {self.count:,} elements are wrong)"
        )


def compare(
    node: Node, want: Bounded, got: Any, arithmetic: Arithmetic, *, name: str, layer: str, kind: Kind
) -> Compared:
    """The values that a target gave for a node against the oracle's with its bounds."""
    expected = np.asarray(want.value, np.float64)
    given = np.asarray(got, np.float64).reshape(expected.shape)
    error = np.zeros(expected.shape) if want.error is None else want.error
    budget = arithmetic.safety * np.where(np.isnan(error), np.inf, error)
    if node.type.is_float:
        budget = budget + np.where(budget > 0, SMALLEST[node.dtype], 0.0)
    with np.errstate(all="ignore"):
        away = _distance(expected, given)
        if node.type.is_float:
            # Where the oracle passes the largest number of the type, the target may have an infinity.
            over = np.abs(expected) + budget > LARGEST[node.dtype]
            away = np.where(over & np.isinf(given) & (np.sign(given) == np.sign(expected)), 0.0, away)
        ratio = np.where(away == 0, 0.0, np.where(budget > 0, away / budget, np.inf))
    beyond = away > budget
    excused = np.zeros(expected.shape, bool)
    if want.choice is not None:
        slack = np.where(np.isnan(want.choice), np.inf, want.choice)
        excused = beyond & (away <= budget + slack * (1 + 1e-6))
    judged = np.where(excused, 0.0, ratio)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(judged)), expected.shape)) if expected.size else ()
    finite = np.abs(expected[np.isfinite(expected)])
    return Compared(
        name=name,
        layer=layer,
        kind=kind,
        type=str(node.type),
        count=int(expected.size),
        error=float(away[at]) if expected.size else 0.0,
        budget=float(budget[at]) if expected.size else 0.0,
        ratio=float(judged[at]) if expected.size else 0.0,
        scale=float(finite.max(initial=0.0)),
        flips=int(excused.sum()),
        wrong=int((beyond & ~excused).sum()),
        at=at,
        want=float(expected[at]) if expected.size else 0.0,
        got=float(given[at]) if expected.size else 0.0,
    )


def _distance(want: Array, got: Array) -> Array:
    """|want - got|; 0 where both are the same infinity or both are no number, infinite where only one is."""
    same = (want == got) | (np.isnan(want) & np.isnan(got))
    with np.errstate(all="ignore"):
        away = np.abs(want - got)
    return np.where(same, 0.0, np.where(np.isfinite(away), away, np.inf))


# Graphs before and after a pass differ by no more than this share of a value's largest element, in double precision:
# rounding to 2^-53, and room for ten million times more.
PASS_TOLERANCE = 1e-9
# A value that cancels to nothing, such as the gradient of a bias before a batch norm, is rounding all over: elements
# are taken to be at least this share of the largest of all values.
LEAST_SHARE = 1e-3


def differing(before: Mapping[str, Array], after: Mapping[str, Array]) -> dict[str, float]:
    """The largest difference of each value that both have, where it is more than the tolerance allows."""
    pairs = {name: [np.asarray(x[name], np.float64) for x in (before, after)] for name in before if name in after}
    scales = {name: float(np.abs(a[np.isfinite(a)]).max(initial=0.0)) for name, (a, _) in pairs.items()}
    least = LEAST_SHARE * max(scales.values(), default=0.0)
    found: dict[str, float] = {}
    for name, (a, b) in pairs.items():
        away = math.inf if a.shape != b.shape else float(_distance(a, b).max(initial=0.0))
        if away > PASS_TOLERANCE * max(scales[name], least):
            found[name] = away
    return found
