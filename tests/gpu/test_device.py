"""Programs of the triton target on a real GPU: element types, graphs, state, whole steps beside the numpy target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler.program import Constant
from netc.report.profiling import made_up_feeds
from netc.runtime.executable import Executable
from netc.runtime.triton.run.opening import driver_present, open_cuda, open_engine
from netc.runtime.triton.run.state_copy import copy_on
from support.hand_written import copy, scale
from support.interpreted import state_of

Array = np.ndarray[Any, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"
X = np.arange(6, dtype=np.float32).reshape(2, 3)

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def gpu() -> str:
    """The GPU's name; without one everything here is skipped."""
    if not driver_present():
        pytest.skip("this machine has no driver for a GPU")
    try:
        return open_cuda().what
    except netc.UserError as error:
        pytest.skip(str(error))


VALUES: dict[str, list[float]] = {
    "f32": [0.1, -2, np.inf, -np.inf, np.nan, 3e38, 1e-45, 0],
    "f16": [0.1, -2, np.inf, -np.inf, np.nan, 65504, 6e-8, 0],
    "bf16": [0.5, -2, np.inf, -np.inf, np.nan, 2.0**127, 2.0**-126, 0],
    "i64": [0, -1, 2**63 - 1, -(2**63), 2**40, 7, 8, 9],
    "i32": [0, -1, 2**31 - 1, -(2**31), 2**20, 7, 8, 9],
    "u8": [0, 1, 255, 128, 20, 7, 8, 9],
    "bool": [0, 1, 1, 0, 0, 1, 0, 1],
}


@pytest.mark.parametrize("dtype", VALUES)
def test_every_element_type_keeps_its_values(dtype: str) -> None:
    program = copy(dtype)
    x = np.array(VALUES[dtype], program.inputs["x"].numpy_dtype)
    outputs = Executable(program, state_of(program, {}), "cuda").run({"x": x})
    np.testing.assert_array_equal(outputs["y"], x)
    constant = copy(dtype, constant=Constant.of(x, dtype))
    np.testing.assert_array_equal(Executable(constant, state_of(constant, {}), "cuda").run({})["y"], x)


def test_bf16_is_rounded_as_here() -> None:
    rng = np.random.default_rng(0)
    for _ in range(16):
        x = rng.standard_normal(8).astype(np.float32)
        program = copy("f32", "bf16")
        there = Executable(program, state_of(program, {}), "cuda").run({"x": x})["y"]
        here = Executable(program, state_of(program, {}), "cpu").run({"x": x})["y"]
        np.testing.assert_array_equal(there, here)


def test_steps_are_replayed() -> None:
    state = state_of(scale(), {"w": np.float32(5)})
    exe = Executable(scale(), state, "cuda")
    factors = [float(exe.run({"x": X})["y"][0, 1]) for _ in range(4)]
    assert factors == [5, 6, 7, 8]
    assert exe._engine._loaded._graph is not None  # type: ignore[attr-defined]
    assert state["w"] == 9
    state["w"] = 1.0
    assert exe.run({"x": X})["y"][0, 1] == 1


def test_what_is_not_written_shows() -> None:
    program = scale(grid=(1,))
    engine = open_engine(program, state_of(program, {"w": np.float32(1)}), "cuda", checked=True)
    np.testing.assert_array_equal(engine.run({"x": X})["y"].reshape(-1), [0, 1, 2, 3, np.nan, np.nan])


# Whole training steps.


def feeds_of(exe: Executable, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    found = {}
    for name, type_ in exe.program.inputs.items():
        if not name.startswith("."):
            whole = type_.numpy_dtype.kind == "i"
            values = rng.integers(0, 10, type_.shape) if whole else rng.random(type_.shape)
            found[name] = np.asarray(values).astype(type_.numpy_dtype)
    return found


def losses(device: str, *, steps: int = 20, replays: bool = True) -> tuple[list[float], Executable]:
    exe = netc.compile(EXAMPLES / "lenet.net", mode="train", dims={"N": 16}, device=device, seed=1)
    if device == "cuda":
        exe._engine._loaded.replays = replays  # type: ignore[attr-defined]
    found = [float(exe.run(feeds_of(exe, step))["nll"]) for step in range(steps)]
    return found, exe


def test_lenet_learns_as_with_numpy() -> None:
    """f32 products by both; sums are in another order, so that losses part slowly."""
    wanted, here = losses("cpu")
    found, there = losses("cuda")
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    for name, parameter in here.state.items():
        np.testing.assert_allclose(there.state[name], parameter, rtol=1e-2, atol=1e-3, err_msg=name)


def test_replaying_gives_the_same_bits_as_launching() -> None:
    found, one = losses("cuda")
    launched, other = losses("cuda", replays=False)
    assert found == launched
    assert all(np.array_equal(one.state[name], other.state[name]) for name in one.state)


def test_a_test_follows_a_step_on_the_gpu() -> None:
    _, step = losses("cuda", steps=3)
    test = netc.compile(EXAMPLES / "lenet.net", dims={"N": 16}, outputs=["prob"], device="cuda")
    shared = Executable(test.program, step.state, "cuda")
    feeds = {name: array for name, array in feeds_of(step, 0).items() if name in shared.program.inputs}
    found = shared.run(feeds)["prob"]
    assert copy_on(step.state, open_cuda()) is shared._engine._copy  # type: ignore[attr-defined]
    on_host = netc.compile(EXAMPLES / "lenet.net", dims={"N": 16}, outputs=["prob"])
    for name in on_host.state:
        on_host.state[name] = step.state[name]
    np.testing.assert_allclose(found, on_host.run(feeds)["prob"], rtol=1e-4, atol=1e-6)


def test_times_of_kernels() -> None:
    exe = netc.compile(EXAMPLES / "lenet.net", mode="train", dims={"N": 64}, device="cuda")
    feeds = made_up_feeds(exe.program.inputs)
    whole = exe.seconds(feeds, times=50)
    parts = sum(seconds for _, seconds in exe.timed(feeds))
    assert 0 < whole < 0.1
    # Kernels timed one by one cost at most a few microseconds each more than within the graph.
    assert whole / 3 < parts < whole + 2e-5 * len(exe.program.launches)
