"""Running error analysis: what one primitive makes of its operands' errors, and the rounding that it adds.

The analysis is Higham's ("Accuracy and Stability of Numerical Algorithms", 2002, section 3.3). Each op states its part
in its paragraph, as a `Rounding`; here is what several share, and `netc/verification/budget.py` evaluates graphs by it.
A bound is an array beside the value, element by element; None: nothing can happen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..types import FLOATS

if TYPE_CHECKING:
    from ..graph import Node

Array = npt.NDArray[Any]
Bound = Array | None

UNITS = {"f64": 2.0**-53, "f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
# Below these, results lose digits or become zero: f32 where a device flushes subnormal numbers, f16 where it does not.
SMALLEST = {"f64": 2.3e-308, "f32": 1.2e-38, "f16": 6e-8, "bf16": 1.2e-38}
TF32 = 2.0**-11
# Units of rounding of what is no single correctly rounded operation: numpy's vector loops and the GPU's fast ones are
# at most so far off.
DIVISION, ROOT, ELEMENTARY, POWER = 3.0, 2.0, 4.0, 8.0


@dataclass(frozen=True)
class Arithmetic:
    """How a target computes. safety: what errors are multiplied by. tf32: products of f32 round their operands.

    filtered: convolutions may be computed in tiles (`compiler/ops/winograd.py`), whose transforms make errors larger.
    """

    safety: float = 4.0
    tf32: bool = False
    filtered: bool = False

    def unit(self, dtype: str) -> float:
        """The unit roundoff of an element type; 0 for whole numbers."""
        return UNITS.get(dtype, 0.0)

    def inner(self, dtype: str) -> float:
        """The unit roundoff in which sums of that type are accumulated."""
        return min(self.unit(dtype), UNITS["f32"])


@dataclass(frozen=True, slots=True)
class Bounded:
    """A value of the oracle with its bounds. choice of whole numbers: by how much.

    near: of a maximum, where either operand could be the larger.
    """

    value: Array
    error: Bound = None
    choice: Bound = None
    near: Bound = None

    def reach(self, safety: float) -> Bound:
        """How far the target's value may lie away, all taken together."""
        if self.error is None:
            return self.choice
        return safety * self.error if self.choice is None else safety * self.error + self.choice


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One node evaluated by the oracle: its operands, its value, and how the target computes."""

    node: Node
    operands: Sequence[Bounded]
    value: Array
    arithmetic: Arithmetic

    def x(self, index: int) -> Array:
        """The value of an operand."""
        return self.operands[index].value

    def size(self, index: int) -> Array:
        return np.abs(self.operands[index].value)

    @property
    def unit(self) -> float:
        return self.arithmetic.unit(self.node.dtype)

    @property
    def rounded(self) -> Array:
        """One rounding of the result."""
        return np.asarray(self.unit * np.abs(self.value))


@dataclass(frozen=True, slots=True)
class Rounding:
    """What becomes of errors in one primitive.

    spread(at, *bounds)  the result's bound from one for each operand (zeros: exact); errors and choices go through it
                         alike, since both are bounds on a difference. None: the result is no matter of degree
    own(at)              the op's own rounding. None: it rounds nothing
    turned(at)           the difference that undecided choices make. None: it decides nothing
    near(at)             where either of two operands may be taken
    """

    spread: Callable[..., Bound] | None = None
    own: Callable[[Evaluation], Bound] | None = None
    turned: Callable[[Evaluation], Bound] | None = None
    near: Callable[[Evaluation], Bound] | None = None

    def bounded(self, at: Evaluation) -> Bounded:
        """The node's value with its bounds."""
        is_float = at.node.dtype in FLOATS
        error, choice = (self._passed_on(at, [getattr(x, part) for x in at.operands]) for part in ("error", "choice"))
        if is_float and self.own is not None:
            error = _sum(error, _landed(at, self.own(at)))
        if self.turned is not None and any(x.error is not None or x.choice is not None for x in at.operands):
            choice = _sum(choice, self.turned(at))
        return Bounded(at.value, error if is_float else None, choice, self.near(at) if self.near else None)

    def _passed_on(self, at: Evaluation, parts: Sequence[Bound]) -> Bound:
        if self.spread is None or all(part is None for part in parts):
            return None
        zeros = (np.broadcast_to(np.float64(0.0), x.value.shape) for x in at.operands)
        return self.spread(at, *(z if part is None else part for z, part in zip(zeros, parts, strict=True)))


def _sum(a: Bound, b: Bound) -> Bound:
    return b if a is None else a if b is None else a + b


def _landed(at: Evaluation, own: Bound) -> Bound:
    """The rounding of a result; an infinity is exact, and below the smallest number a result may become zero."""
    if own is None:
        return None
    return np.where(np.isfinite(at.value), own + np.where(at.value != 0, SMALLEST[at.node.dtype], 0.0), 0.0)


# Nothing but whole numbers, or none at all: no error reaches the result, and none is made.
EXACT = Rounding()


def units(count: float) -> Callable[[Evaluation], Array]:
    """The rounding of an op that is at most so many units of its result off."""
    return lambda at: np.asarray(count * at.rounded)


def first(at: Evaluation, e: Array, *_: Array) -> Array:
    """No more than what the first operand brings: the derivative is nowhere above 1."""
    return e


def larger(at: Evaluation, a: Array, b: Array) -> Array:
    return np.maximum(a, b)


def bilinear(at: Evaluation, ea: Array, eb: Array) -> Bound:
    """(|a| + ea) eb + ea |b|, for products of any kind."""
    found = magnitudes(at, at.size(0) + ea, eb) if eb.any() else None
    return _sum(found, magnitudes(at, ea, at.size(1)) if ea.any() else None)


def magnitudes(at: Evaluation, a: Array, b: Array) -> Array:
    """The node's op on what is not negative, in single precision, since a bound needs few digits.

    Both are scaled to at most 1, so that nothing overflows; what is infinite stays so.
    """
    node = at.node
    if node.op.family == "pointwise":
        return np.asarray(a * b)
    sizes = [float(x.max(initial=0.0)) for x in (a, b)]
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        return np.asarray(node.op.numpy(a, b, **node.attrs))
    scaled = ((x / size).astype(np.float32) for x, size in zip((a, b), sizes, strict=True))
    found: Array = np.maximum(node.op.numpy(*scaled, **node.attrs).astype(np.float64), 0.0) * (sizes[0] * sizes[1])
    return found


def moved(at: Evaluation, *bounds: Array) -> Array:
    """Bounds are moved as values are."""
    return np.asarray(at.node.op.numpy(*bounds, **at.node.attrs))


def likely(unit: float, n: int, total: Array, magnitude: Array, squares: Array) -> Array:
    """u sqrt(n) (S + S1/4 + Q), from a sum of n terms, that of their magnitudes and that of their squares.

    `netc/verification/budget.py` has the derivation.
    """
    found: Array = unit * math.sqrt(n) * (np.abs(total) + magnitude / 4 + np.sqrt(np.maximum(squares, 0.0)))
    return found


def overlapping(at: Evaluation, n: int, add: Callable[[Array], Array], x: Array) -> Array:
    """The rounding where at most n elements of x that meet are summed by `add`."""
    inner = at.arithmetic.inner(at.node.dtype)
    return likely(inner, n, at.value, add(np.abs(x)), add(x * x)) + at.rounded


def undecided(at: Evaluation) -> Array:
    """Where two operands are so near to each other that either may be the larger."""
    a, b = at.operands
    total = reach(a, at) + reach(b, at)
    found: Array = (np.abs(np.subtract(a.value, b.value, dtype=np.float64)) <= total) & (total > 0)
    return found


def reach(x: Bounded, at: Evaluation) -> Array:
    found = x.reach(at.arithmetic.safety)
    return np.zeros(x.value.shape) if found is None else found


def stepped(at: Evaluation, whole: Callable[[Array], Array]) -> Bound:
    """Steps of one that lie within the bounds of the operand."""
    x, far = at.x(0), reach(at.operands[0], at)
    found: Array = np.abs(whole(x + far) - whole(x - far))
    return found if np.any(found) else None
