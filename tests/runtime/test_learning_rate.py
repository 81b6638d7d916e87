"""Rates against what Caffe computed, against its formulas at points worked out by hand, and against the schemas."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from netc.compiler.schema.solvers import SCHEDULES
from netc.compiler.spec import Use
from netc.runtime.learning_rate import RULES, rate


def use(name: str, **settings: object) -> Use:
    return Use(name, tuple(settings.items()))


# Caffe's names of settings, and ours.
NAMES = {"step": {"stepsize": "every"}, "sigmoid": {"stepsize": "at"}}


@pytest.mark.parametrize("policy", ["fixed", "inv", "sigmoid", "step"])
def test_rates_are_caffes(policy: str, shared: Path) -> None:
    case = np.load(shared / "conformance" / "solvers" / f"policy_{policy}.npz")
    text = str(case["solver"])
    given = {key: float(value) for key, value in re.findall(r"(gamma|power|stepsize): ([\d.]+)", text)}
    settings = {NAMES.get(policy, {}).get(key, key): value for key, value in given.items()}
    schedule = use(policy, **settings)
    base = float(re.findall(r"base_lr: ([\d.]+)", text)[0])
    expected = case["lr_after"]
    ours = [rate(schedule, base, step + 1, len(expected)) for step in range(len(expected))]
    np.testing.assert_allclose(ours, expected, rtol=2e-7)


def test_every_schema_has_a_rule_and_every_rule_a_schema() -> None:
    assert set(RULES) == set(SCHEDULES)


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (use("fixed"), 10, {0: 2.0, 9: 2.0}),
        (use("step", gamma=0.5, every=3), 10, {0: 2.0, 2: 2.0, 3: 1.0, 5: 1.0, 6: 0.5}),
        (use("exp", gamma=0.5), 10, {0: 2.0, 1: 1.0, 3: 0.25}),
        (use("inv", gamma=1.0, power=2.0), 10, {0: 2.0, 1: 0.5, 3: 0.125}),
        (use("multistep", gamma=0.1, at=(3, 5)), 10, {2: 2.0, 3: 0.2, 4: 0.2, 5: 0.02, 9: 0.02}),
        (use("poly", power=2.0), 10, {0: 2.0, 5: 0.5, 9: 0.02, 10: 0.0, 12: 0.0}),
        (use("sigmoid", gamma=-1.0, at=4), 10, {4: 1.0, 0: 2.0 / (1 + math.exp(-4)), 8: 2.0 / (1 + math.exp(4))}),
        (use("cosine", floor=0.0), 10, {0: 2.0, 5: 1.0, 10: 0.0}),
        (use("cosine", floor=0.1), 10, {0: 2.0, 5: 1.1, 10: 0.2}),
    ],
    ids=lambda value: str(value) if isinstance(value, Use) else "",
)
def test_points_of_each_formula(schedule: Use, steps: int, expected: dict[int, float]) -> None:
    for step, value in expected.items():
        assert rate(schedule, 2.0, step, steps) == pytest.approx(value, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", sorted(RULES))
def test_warm_up_is_a_line_times_the_schedule(name: str) -> None:
    settings = {"gamma": 0.9, "power": 0.5, "every": 2, "at": (3, 5) if name == "multistep" else 5, "floor": 0.1}
    plain = [rate(use(name, **settings), 1.0, step, 20) for step in range(20)]
    warm = [rate(use(name, **settings, warmup=8, warmup_from=0.25), 1.0, step, 20) for step in range(20)]
    factors = np.divide(warm, plain)
    np.testing.assert_allclose(factors[:9], np.linspace(0.25, 1.0, 10)[1:], rtol=1e-12)
    assert warm[8:] == plain[8:]


def test_no_step_of_a_warm_up_has_the_rate_0() -> None:
    found = [rate(use("fixed", warmup=4), 1.0, step, 20) for step in range(6)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_a_rate_too_large_for_a_number_is_infinite() -> None:
    assert rate(use("exp", gamma=1e10), 1.0, 1000, 2000) == math.inf


def test_a_steep_sigmoid_ends_at_zero() -> None:
    assert rate(use("sigmoid", gamma=10.0, at=1000), 1.0, 0, 2000) == 0.0
