"""Training steps of the examples on a real GPU beside the numpy target, in every precision; random bits; the tuner."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.api.tuning import Tuned, frozen_or_tuned
from netc.driver import compilation
from netc.report.profiling import made_up_feeds
from netc.request import Request
from netc.runtime.triton.compile.tune import GAIN
from netc.runtime.triton.run.opening import driver_present, open_cuda
from netc.tuning_files import TuningFiles, read_file

Array = np.ndarray[Any, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.gpu
DEVICE = "cuda"

BITS = """
net bits {
    input x: f32[N, 1000]
    output y = x |> dropout(0.5)
}
"""
# Each with its batch. CaffeNet has groups, LRN across channels, and dropout, whose masks are the numpy target's.
NETS = {
    **dict.fromkeys(("lenet", "cifar10_quick", "cifar10_full", "logreg", "autoencoder", "digits", "user_op"), 16),
    "caffenet": 4,
}
# What the changes of parameters may differ by, as a part of them.
BOUNDS = {"f32": 2e-3, "tf32": 0.05, "bf16": 0.15}


@pytest.fixture(scope="module", autouse=True)
def gpu() -> str:
    """The GPU's name; without one everything here is skipped."""
    if not driver_present():
        pytest.skip("this machine has no driver for a GPU")
    try:
        return open_cuda().gpu
    except netc.UserError as error:
        pytest.skip(str(error))


def step(path: Path, precision: str, *, device: str, feeds: dict[str, Array] | None = None) -> Any:
    """The feeds of a step, its outputs, and what changed in its parameters. The device's step is replayed as well."""
    numpy = device == "numpy"
    exe = netc.compile(
        path,
        mode="train",
        dims={"N": NETS[path.stem]},
        target="numpy" if numpy else "triton",
        device="cpu" if numpy else device,
        precision="f32" if numpy or precision == "tf32" else precision,
        tf32=precision == "tf32" and not numpy,
        seed=3,
    )
    if feeds is None:
        feeds = {**made_up_feeds(exe.program.inputs, 4)}
        if ".rate" in feeds:
            feeds[".rate"] = np.float32(0.1)  # type: ignore[assignment]
    names = [info.name for info in exe.compilation.layout if info.kind == "parameter"]
    before = {name: exe.state[name].astype(np.float64) for name in names}
    outputs, differing = (exe.run(feeds), []) if numpy else exe.twice(feeds)
    assert not differing
    return feeds, outputs, {name: exe.state[name].astype(np.float64) - before[name] for name in names}


def far(found: Any, wanted: Any) -> float:
    return float(np.linalg.norm(np.subtract(found, wanted)) / max(float(np.linalg.norm(wanted)), 1e-30))


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("name", NETS)
def test_a_step_changes_what_it_changes_with_numpy(name: str, precision: str) -> None:
    feeds, wanted, changes = step(EXAMPLES / f"{name}.net", precision, device="numpy")
    _, found, there = step(EXAMPLES / f"{name}.net", precision, device=DEVICE, feeds=feeds)
    bound = BOUNDS[precision]
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=bound, atol=bound * 1e-2, err_msg=key)
    # Of single layers small gradients may be mostly noise in 16 bits; of all together the change is right.
    assert all(np.isfinite(change).all() for change in there.values())
    assert far(*(np.concatenate([c.ravel() for c in x.values()]) for x in (there, changes))) < bound


def test_random_bits_are_those_of_numpy(tmp_path: Path) -> None:
    path = tmp_path / "bits.net"
    path.write_text(BITS)
    x = np.ones((64, 1000), np.float32)
    results = []
    for target, device in (("numpy", "cpu"), ("triton", DEVICE)):
        exe = netc.compile(
            path, mode="train", dims={"N": 64}, update=False, outputs=["y"], target=target, device=device, seed=9
        )
        results.append([exe(x=x)["y"] for _ in range(3)])
    for here, there in zip(*results, strict=True):
        np.testing.assert_array_equal(there, here)
    assert 0.45 < float((results[0][0] > 0).mean()) < 0.55


def test_the_tuner_finds_schedules_that_compute_the_same(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    told: list[str] = []
    want = Request(mode="train", dims={"N": 64}, target="triton", device=DEVICE, update=None)
    found = frozen_or_tuned(EXAMPLES / "digits.net", want, file, seconds=20.0, tell=told.append)
    assert isinstance(found, Tuned)
    for row in found.rows:
        assert row.us < GAIN * row.before if row.blocks != row.start else row.us == row.before, row
    assert sum(row.tried for row in found.rows) > len(found.rows)
    assert read_file(file).entries.keys() == found.table.entries.keys()
    results, steps = [], []
    for schedules in (None, file):
        chosen = TuningFiles(schedules, frozen=schedules is not None)
        made = compilation(EXAMPLES / "digits.net", replace(want, schedules=chosen))
        exe = made.executables(made.new_state(1))[0]
        feeds: dict[str, Any] = {**made_up_feeds(exe.program.inputs, 4), ".rate": np.float32(0.1)}
        exe.run(feeds)
        results.append({name: exe.state[name].copy() for name in exe.state})
        steps.append(partial(exe.seconds, feeds, 50))
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    # Measured anew, in turns, whole steps are no slower, but for what times of small kernels vary by.
    turns = [[run() for run in steps] for _ in range(7)]
    start, now = np.median(turns, axis=0)
    assert 0 < now < 1.1 * start
