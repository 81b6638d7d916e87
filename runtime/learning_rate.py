"""Learning-rate policies: Caffe's (`GetLearningRate` in src/caffe/solvers/sgd_solver.cpp), cosine, and warm-up.

What each takes stands in `compiler/schema/solvers.py`. Rates are double precision; the program is fed them as f32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..compiler.spec import Use

Rule = Callable[[Use, int, int], float]


def rate(schedule: Use, base_lr: float, step: int, steps: int) -> float:
    """The rate of step `step`, counted from 0, of `steps`; infinity where it is too large for a number.

    Over the first `warmup` steps it is the schedule's own, times a factor that rises in a line: `warmup_from` before
    the first step, 1 at the step that follows them. So no step has the rate 0, in which it would learn nothing.
    """
    try:
        factor = RULES[schedule.name](schedule, step, steps)
    except OverflowError:
        factor = math.inf
    warmup = int(schedule.get("warmup", 0))
    if step < warmup:
        start = float(schedule.get("warmup_from", 0.0))
        factor *= start + (1.0 - start) * (step + 1) / (warmup + 1)
    return base_lr * factor


def _step(schedule: Use, step: int, steps: int) -> float:
    return float(schedule["gamma"]) ** (step // int(schedule["every"]))


def _exp(schedule: Use, step: int, steps: int) -> float:
    return float(schedule["gamma"]) ** step


def _inv(schedule: Use, step: int, steps: int) -> float:
    return math.pow(1.0 + float(schedule["gamma"]) * step, -float(schedule["power"]))


def _multistep(schedule: Use, step: int, steps: int) -> float:
    return float(schedule["gamma"]) ** sum(1 for at in schedule["at"] if step >= at)


def _poly(schedule: Use, step: int, steps: int) -> float:
    # Past the end Caffe's is not a number; a run that goes on there stands still.
    return math.pow(max(1.0 - step / steps, 0.0), float(schedule["power"]))


def _sigmoid(schedule: Use, step: int, steps: int) -> float:
    exponent = -float(schedule["gamma"]) * (step - schedule["at"])
    return 0.0 if exponent > 700.0 else 1.0 / (1.0 + math.exp(exponent))


def _cosine(schedule: Use, step: int, steps: int) -> float:
    floor = float(schedule.get("floor", 0.0))
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0)))


RULES: dict[str, Rule] = {
    "fixed": lambda schedule, step, steps: 1.0,
    "step": _step,
    "exp": _exp,
    "inv": _inv,
    "multistep": _multistep,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "cosine": _cosine,
}
