"""A target that is no part of netc: registered here, it trains as numpy does, and computes what the oracle does."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.target import TARGETS, Target, Way
from netc.compiler.graph import Graph
from netc.driver import compilation
from netc.passes.pipeline import LOWER
from netc.runtime.executable import Executable
from support import toy_target
from support.numpy_program import assert_like_oracle, made_up
from support.op_samples import SAMPLES, Sample
from support.random_steps import training_step

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
GROUPS = ("kernel", "item", "host", "partial")
OF_C = {"winograd_data", "winograd_weights", "winograd_product"}  # a stage of another target makes them
SAMPLED = [pytest.param(s, id=name) for name, found in SAMPLES.items() if name not in {*GROUPS, *OF_C} for s in found]


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that netc is told of the target: a row of targets, and one of stages."""
    way = Way("cpu", "loops of plain Python", slow=True, arch="interpreter")
    engine = "netc.runtime.executable:ArrayEngine"
    monkeypatch.setitem(TARGETS, "toy", Target("toy", f"{toy_target.__name__}:emit", engine, (way,)))
    monkeypatch.setitem(LOWER, "toy", tuple(stage for stage in LOWER["triton"] if stage[0] != "split"))


def test_it_is_small() -> None:
    assert len(Path(toy_target.__file__).read_text().splitlines()) < 100


def test_a_training_step_of_lenet_is_that_of_numpy() -> None:
    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {"image": rng.random((2, 1, 28, 28), np.float32), "label": [3, 8], ".rate": 0.01}
    results = {}
    for target in ("numpy", "toy"):
        made = compilation(LENET, mode="train", dims={"N": 2}, target=target, device="cpu")
        state = made.new_state(1)
        outputs = Executable(made.program, state).run(feeds)
        results[target] = outputs | {name: state.buffers[name].copy() for name in made.program.updates}
    for name, wanted in results["numpy"].items():
        np.testing.assert_allclose(results["toy"][name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("sample", SAMPLED)
def test_each_primitive_in_a_nest(sample: Sample) -> None:
    y = sample.call(*sample.nodes())
    graph = Graph({"y": y, "z": ops.mul(ops.neg(y), y)} if y.type.is_float else {"y": y})
    assert_like_oracle(graph, feeds=made_up(graph) | sample.feeds(), target="toy", arch="interpreter")


@pytest.mark.parametrize("seed", range(8))
def test_random_training_steps(seed: int) -> None:
    assert_like_oracle(training_step(Random(seed)), target="toy", arch="interpreter")
