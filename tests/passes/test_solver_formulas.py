"""Solvers against formulas written from their definitions, over several steps: decay, clipping, multipliers, schedules.

`RULES` is numpy alone, a number at a time, from the papers and Caffe's documentation; a solver without a rule fails.
The graphs are evaluated in float64; the whole way, through `netc.compile` with a schedule and batches that are added
up, in f32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler.schema.solvers import SOLVERS
from netc.passes.training.flatten import PARAMETERS, flat_layout
from support.solver_steps import STATE, end_to_end, fed_with, first_state, solver_of, stepped

Memory = dict[str, float]
# (weight, gradient with its decay, rate, step from 1, what is remembered of the weight, settings) -> next weight
Rule = Callable[[float, float, float, int, Memory, dict[str, float]], float]


def sgd(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    m["v"] = s["momentum"] * m.get("v", 0.0) + r * g
    return w - m["v"]


def nesterov(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    before = m.get("v", 0.0)
    m["v"] = s["momentum"] * before + r * g
    return w - ((1 + s["momentum"]) * m["v"] - s["momentum"] * before)


def adagrad(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    m["h"] = m.get("h", 0.0) + g * g
    return w - r * g / (math.sqrt(m["h"]) + s["delta"])


def rmsprop(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    m["h"] = s["rms_decay"] * m.get("h", 0.0) + (1 - s["rms_decay"]) * g * g
    return w - r * g / (math.sqrt(m["h"]) + s["delta"])


def adadelta(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    m["h"] = s["momentum"] * m.get("h", 0.0) + (1 - s["momentum"]) * g * g
    u = g * math.sqrt((m.get("k", 0.0) + s["delta"]) / (m["h"] + s["delta"]))
    m["k"] = s["momentum"] * m.get("k", 0.0) + (1 - s["momentum"]) * u * u
    return w - r * u


def adam(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    m["m"] = s["momentum"] * m.get("m", 0.0) + (1 - s["momentum"]) * g
    m["v"] = s["momentum2"] * m.get("v", 0.0) + (1 - s["momentum2"]) * g * g
    corrected = math.sqrt(1 - s["momentum2"] ** t) / (1 - s["momentum"] ** t)
    return w - r * corrected * m["m"] / (math.sqrt(m["v"]) + s["delta"])


def adamw(w: float, g: float, r: float, t: int, m: Memory, s: dict[str, float]) -> float:
    m["m"] = s["momentum"] * m.get("m", 0.0) + (1 - s["momentum"]) * g
    m["v"] = s["momentum2"] * m.get("v", 0.0) + (1 - s["momentum2"]) * g * g
    mean, variance = m["m"] / (1 - s["momentum"] ** t), m["v"] / (1 - s["momentum2"] ** t)
    return w - r * (mean / (math.sqrt(variance) + s["delta"]) + s["own decay"] * w)


RULES: dict[str, Rule] = {f.__name__: f for f in (sgd, nesterov, adagrad, rmsprop, adadelta, adam, adamw)}
DECOUPLED = ("adamw",)  # these decay by themselves
VARIED: dict[str, list[dict[str, Any]]] = {
    "sgd": [{"momentum": 0.0}, {"momentum": 0.9}],
    "nesterov": [{}, {"momentum": 0.5}],
    "adagrad": [{}, {"delta": 0.1}],
    "rmsprop": [{}, {"rms_decay": 0.5, "delta": 0.1}],
    "adadelta": [{}, {"momentum": 0.5, "delta": 0.01}],
    "adam": [{}, {"momentum": 0.5, "momentum2": 0.7, "delta": 0.1}],
    "adamw": [{"weight_decay": 0.3}, {"momentum": 0.5, "momentum2": 0.7, "delta": 0.1, "weight_decay": 0.0}],
}
DECAYS: list[dict[str, Any]] = [{}, {"weight_decay": 0.3}, {"weight_decay": 0.3, "decay": "l1"}]
CASES = [
    pytest.param(name, {**settings, **decay}, clip, id=f"{name}-{i}-{j}-clip-{clip}")
    for name, several in VARIED.items()
    for i, settings in enumerate(several)
    for j, decay in enumerate([{}] if name in DECOUPLED else DECAYS)
    for clip in (None, 1.5)
]


def test_every_solver_has_a_rule() -> None:
    assert RULES.keys() == VARIED.keys() == set(SOLVERS.own)


class Learning:
    """Weights, each by the rule of a solver. lr, decay: multipliers of each."""

    def __init__(self, name: str, settings: dict[str, Any], w: np.ndarray, lr: np.ndarray, decay: np.ndarray) -> None:
        self.rule, self.settings, self.own = RULES[name], settings, name in DECOUPLED
        self.w, self.lr, self.decay = w.astype(float), lr, decay
        self.memory: list[Memory] = [{} for _ in w]
        self.t = 0

    def step(self, total: np.ndarray, rate: float, *, clip: float | None = None, batches: int = 1) -> None:
        """One update by the sum of the gradients of so many batches."""
        self.t += 1
        norm = math.sqrt(math.fsum(float(g) ** 2 for g in total))
        factor = (clip / norm if clip is not None and norm > clip else 1.0) / batches
        strength = float(self.settings.get("weight_decay", 0.0))
        for i, w in enumerate(self.w.tolist()):
            decay = strength * float(self.decay[i])
            toward = math.copysign(1.0, w) if self.settings.get("decay") == "l1" else w
            g = float(total[i]) * factor + (0.0 if self.own else decay * toward)
            settings = {**self.settings, "own decay": decay}
            self.w[i] = self.rule(w, g, rate * float(self.lr[i]), self.t, self.memory[i], settings)


@pytest.mark.parametrize(("name", "settings", "clip"), CASES)
def test_steps_are_those_of_the_definition(name: str, settings: dict[str, Any], clip: float | None) -> None:
    """Of thirteen weights eleven have the multipliers 1, two learn twice as fast and do not decay."""
    solver, layout = solver_of(name, lr=0.1, **settings), flat_layout(STATE)
    gradients = [fed_with(STATE, seed, scale) for seed, scale in enumerate((1.0, 0.01, 3.0, 0.5, 1.0, 0.1))]
    mine = Learning(
        name,
        dict(solver.settings),
        first_state(solver, layout)[PARAMETERS],
        np.repeat([1.0, 2.0], [11, 2]),
        np.repeat([1.0, 0.0], [11, 2]),
    )
    for fed in gradients:
        mine.step(end_to_end(layout, fed), 0.1, clip=clip)
    np.testing.assert_allclose(stepped(solver, gradients, clip=clip)[PARAMETERS], mine.w, rtol=1e-9, atol=1e-12)


NET = """
net n {{
    input x: f32[N, 3]
    y = x |> linear(1, lr: [1, 2], decay: [1, 0]) as fc
    loss l = mean(y)
}}
train n {{
    from: []
    solver: {solver}
    schedule: {schedule}
    steps: 10
    accumulate: 2
    clip: 1.5
}}
"""
SCHEDULE = "step(gamma: 0.5, every: 2, warmup: 3)"
# After a warm-up of three steps, at a quarter, a half and three quarters: 1, 1, 1/2, 1/2, 1/4.
FACTORS = (0.25, 0.5, 0.375, 0.5, 0.25)


@pytest.mark.parametrize("name", SOLVERS.own)
def test_the_whole_way_is_that_of_the_definition(name: str) -> None:
    """A mean of products: the gradient by the weight is the mean of the inputs, and by the bias 1."""
    settings = {**VARIED[name][-1], "lr": 0.2, "weight_decay": 0.1}
    text = NET.format(solver=f"{name}({', '.join(f'{k}: {v}' for k, v in settings.items())})", schedule=SCHEDULE)
    step = netc.compile(text, mode="train", dims={"N": 4}, threads=1)
    first = np.concatenate([step.state["fc.weight"].ravel(), step.state["fc.bias"].ravel()])
    whole = dict(solver_of(name, **settings).settings)
    mine = Learning(name, whole, first, np.array([1.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0, 0.0]))
    rng = np.random.default_rng(3)
    for factor in FACTORS:
        batches = [rng.standard_normal((4, 3)).astype(np.float32) for _ in range(2)]
        for x in batches:
            step(x)
        total = np.sum([np.append(x.mean(axis=0, dtype=float), 1.0) for x in batches], axis=0)
        mine.step(total, 0.2 * factor, clip=1.5, batches=2)
    found = np.concatenate([step.state["fc.weight"].ravel(), step.state["fc.bias"].ravel()])
    np.testing.assert_allclose(found, mine.w, rtol=2e-5, atol=1e-6)
    assert np.abs(found - first).max() > 1e-3
