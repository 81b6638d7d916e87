"""The schemas of solvers and schedules: what may stand after `solver:` and `schedule:`, as Python signatures.

The formulas of solvers are graphs (`passes/training/formulas.py`), the rate of a step is a number
(`runtime/learning_rate.py`). They say which numbers they take, and nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..packages import Registry
from .ranges import AtLeastOne, Count, NotNegative, Part, Share

Regularization = Literal["l2", "l1"]

Settings = Callable[..., None]


@dataclass(frozen=True)
class Solver:
    """A solver of another package: its settings, with the formula as a docstring, and the formula as a graph."""

    settings: Settings
    formula: Any  # a Formula of passes/training/formulas.py, which is imported when there is something to train


def _of_a_package(found: object) -> Settings:
    if not isinstance(found, Solver):
        raise TypeError("it is no `Solver`")
    return found.settings


SOLVERS: Registry[Settings] = Registry("netc.solvers", take=_of_a_package)
SCHEDULES: dict[str, Settings] = {}


def _solver(function: Settings) -> Settings:
    SOLVERS.enter(function.__name__, function)
    return function


def _schedule(function: Settings) -> Settings:
    SCHEDULES[function.__name__] = function
    return function


# In all formulas w is a parameter, r the rate of the step times the parameter's `lr`, and g its gradient: clipped,
# divided by `accumulate`, plus weight_decay * decay * w (l2) or * sign(w) (l1).


@_solver
def sgd(
    *, lr: NotNegative, momentum: Share = 0.0, weight_decay: NotNegative = 0.0, decay: Regularization = "l2"
) -> None:
    """V = momentum V + r g; w -= V   (Caffe: SGD)"""


@_solver
def nesterov(
    *, lr: NotNegative, momentum: Share = 0.9, weight_decay: NotNegative = 0.0, decay: Regularization = "l2"
) -> None:
    """V' = momentum V + r g; w -= (1 + momentum) V' - momentum V   (Caffe: Nesterov)"""


@_solver
def adagrad(
    *, lr: NotNegative, delta: NotNegative = 1e-8, weight_decay: NotNegative = 0.0, decay: Regularization = "l2"
) -> None:
    """h += g g; w -= r g / (sqrt(h) + delta)   (Caffe: AdaGrad)"""


@_solver
def rmsprop(
    *,
    lr: NotNegative,
    rms_decay: Share = 0.99,
    delta: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    decay: Regularization = "l2",
) -> None:
    """h = rms_decay h + (1 - rms_decay) g g; w -= r g / (sqrt(h) + delta)   (Caffe: RMSProp)"""


@_solver
def adadelta(
    *,
    lr: NotNegative = 1.0,
    momentum: Share = 0.95,
    delta: NotNegative = 1e-6,
    weight_decay: NotNegative = 0.0,
    decay: Regularization = "l2",
) -> None:
    """h = momentum h + (1 - momentum) g g; u = g sqrt((k + delta) / (h + delta)); w -= r u   (Caffe: AdaDelta)

    k is to u as h is to g, and is taken before this step's u enters it.
    """


@_solver
def adam(
    *,
    lr: NotNegative = 0.001,
    momentum: Share = 0.9,
    momentum2: Share = 0.999,
    delta: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    decay: Regularization = "l2",
) -> None:
    """w -= r sqrt(1 - momentum2^t) / (1 - momentum^t) m / (sqrt(v) + delta)   (Caffe: Adam)

    m = momentum m + (1 - momentum) g, v = momentum2 v + (1 - momentum2) g g; t counts steps from 1.
    """


@_solver
def adamw(
    *,
    lr: NotNegative = 0.001,
    momentum: Share = 0.9,
    momentum2: Share = 0.999,
    delta: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.01,
) -> None:
    """Adam with corrected means and decay beside the gradient: w -= r (m' / (sqrt(v') + delta) + weight_decay decay w)

    m' = m / (1 - momentum^t), v' = v / (1 - momentum2^t). Source: Loshchilov and Hutter, "Decoupled weight decay
    regularization", 2019.
    """


# A schedule gives the rate of step i, counted from 0, out of `steps`; b is the solver's lr. All of them warm up: over
# the first `warmup` steps the rate rises in a straight line, from `warmup_from` times what the schedule says before the
# first of them to its all after the last.


@_schedule
def fixed(*, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b   (Caffe: fixed)"""


@_schedule
def step(*, gamma: NotNegative, every: AtLeastOne, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b gamma^floor(i / every)   (Caffe: step)"""


@_schedule
def exp(*, gamma: NotNegative, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b gamma^i   (Caffe: exp)"""


@_schedule
def inv(*, gamma: NotNegative, power: float, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b (1 + gamma i)^-power   (Caffe: inv)"""


@_schedule
def multistep(*, gamma: NotNegative, at: tuple[Count, ...], warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b gamma^k after the k-th of the steps `at`   (Caffe: multistep)"""


@_schedule
def poly(*, power: NotNegative, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b (1 - i / steps)^power   (Caffe: poly)"""


@_schedule
def sigmoid(*, gamma: float, at: Count, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """b / (1 + exp(-gamma (i - at)))   (Caffe: sigmoid)"""


@_schedule
def cosine(*, floor: Part = 0.0, warmup: Count = 0, warmup_from: Part = 0.0) -> None:
    """From b down half a cosine to floor b: b (floor + (1 - floor) (1 + cos(pi i / steps)) / 2)"""
