"""The scale of the loss in f16: gradients without it, steps that are left out, growth, and what a snapshot keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.api.compiled import Step
from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.numbers import Precision
from netc.passes.training.flatten import PARAMETERS
from netc.passes.training.scaling import GOOD, LARGEST, LEAST, SCALE, OverflowGuard, Scaling
from netc.runtime.tensors import read_tensors

Array = np.ndarray[Any, Any]

NET = """
net small(classes = 4) {
    input image: f32[N, 2, 9, 9]
    input label: i32[N]
    logits = image |> conv(8, 3) |> batch_norm |> relu |> dropout(0.4) |> linear(classes) as score
    loss nll = softmax_loss(logits, label)
}
data training = synthetic(shape: [2, 9, 9], classes: 4, records: 50, batch: 8, scale: 1/256, shuffle: true)
train small {
    from: training
    solver: SOLVER
    steps: 12
    snapshot: every 4
    accumulate: BATCHES
    MORE
    seed: 3
}
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return written(tmp_path)


def written(folder: Path, solver: str = "adam(lr: 0.01)", batches: int = 1, more: str = "") -> Path:
    path = folder / "small.net"
    text = NET.replace("SOLVER", solver).replace("BATCHES", str(batches)).replace("MORE", more)
    path.write_text(text)
    return path


def compiled(path: Path, precision: Precision = "f16", **more: Any) -> Step:
    made = netc.compile(path, mode="train", dims={"N": 8}, precision=precision, seed=1, target="numpy", **more)
    assert isinstance(made, Step)
    return made


def batch(seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "image": rng.standard_normal((8, 2, 9, 9)).astype(np.float32),
        "label": rng.integers(0, 4, 8).astype(np.int32),
    }


def held(step: Step) -> dict[str, Array]:
    return {name: array.copy() for name, array in step.state.buffers.items()}


def overflow(step: Step) -> None:
    """A scale with which the gradient of the scores is too large for f16."""
    step.state.buffers[SCALE][...] = LARGEST
    step.state.touch()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_with_an_infinite_gradient_changes_nothing_but_the_scale(net: Path, fused: bool, threads: int) -> None:
    step = compiled(net, fused=fused, threads=threads)
    step(**batch())
    overflow(step)
    before = held(step)
    loss = step(**batch(1))["nll"]
    assert np.isfinite(loss)
    after = held(step)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {SCALE, GOOD}
    assert after[SCALE] == LARGEST / 2
    assert after[GOOD] == 0
    assert before.keys() > {PARAMETERS, ".history0", ".history1", ".step"}
    assert any(name.endswith(".variance") for name in before)


def test_the_scale_comes_down_until_steps_are_good_again(net: Path) -> None:
    step = compiled(net, threads=1)
    overflow(step)
    before = step.state.buffers[PARAMETERS].copy()
    taken = 0
    while np.array_equal(step.state.buffers[PARAMETERS], before):
        step(**batch())
        taken += 1
        assert taken < 16
    assert step.state.buffers[SCALE] == LARGEST / 2.0 ** (taken - 1)
    assert step.state.buffers[".step"] == 1
    assert np.isfinite(step.state.buffers[PARAMETERS]).all()


def test_an_infinite_gradient_never_ends_the_scale(net: Path) -> None:
    step = compiled(net, threads=1)
    step.state["score.weight"] = np.full((4, 392), 6e4, np.float32)
    step.state.buffers[SCALE][...] = LEAST * 2
    before = step.state.buffers[PARAMETERS].copy()
    for _ in range(3):
        step(image=np.full((8, 2, 9, 9), np.float32(np.inf)), label=batch()["label"])
    assert step.state.buffers[SCALE] == LEAST
    np.testing.assert_array_equal(step.state.buffers[PARAMETERS], before)


def test_good_steps_double_the_scale(net: Path) -> None:
    step = compiled(net, threads=1, scale_growth=3)
    found = []
    for seed in range(7):
        step(**batch(seed))
        found.append((float(step.state.buffers[SCALE]), int(step.state.buffers[GOOD])))
    first = 2.0**16
    assert found[:3] == [(first, 1), (first, 2), (2 * first, 0)]
    assert found[5] == (4 * first, 0)
    overflow(step)
    for seed in range(2):
        step(**batch(seed))
    assert step.state.buffers[GOOD] == 0, "good steps are counted in a row"


@pytest.mark.parametrize(
    ("scale", "good", "gradient", "wanted"),
    [
        (8.0, 4, 1.0, (16.0, 0)),
        (8.0, 3, 1.0, (8.0, 4)),
        (8.0, 4, np.inf, (4.0, 0)),
        (8.0, 4, -np.inf, (4.0, 0)),
        (8.0, 4, np.nan, (4.0, 0)),
        (LARGEST, 4, 1.0, (LARGEST, 0)),
        (LEAST, 0, np.nan, (LEAST, 0)),
    ],
)
def test_how_the_scale_goes_on(scale: float, good: int, gradient: float, wanted: tuple[float, int]) -> None:
    guard = OverflowGuard(ops.input_(name="g", shape=(5,), dtype="f32"), ops.param(name=SCALE, shape=(), dtype="f32"))
    gradients = np.array([0.0, 1e-30, gradient, -3.0, 3e38])
    feeds = {"g": gradients, SCALE: scale, GOOD: good}
    found = evaluate(Graph({}, guard.next(Scaling(growth=5))), feeds, wide=False)[1]
    assert (float(found[SCALE]), int(found[GOOD])) == wanted


@pytest.mark.parametrize("solver", ["sgd(lr: 0.1, momentum: 0.9, weight_decay: 0.01)", "adam(lr: 0.01)"])
@pytest.mark.parametrize("more", ["", "clip: 0.05"])
def test_the_update_does_not_depend_on_the_scale(tmp_path: Path, solver: str, more: str) -> None:
    path = written(tmp_path, solver, more=more)
    moved = []
    for scale in (2.0**4, 2.0**10):
        step = compiled(path, threads=1)
        step.state.buffers[SCALE][...] = scale
        before = step.state.buffers[PARAMETERS].copy()
        step(**batch())
        moved.append(step.state.buffers[PARAMETERS] - before)
    plain = compiled(path, "f32", threads=1)
    before = plain.state.buffers[PARAMETERS].copy()
    plain(**batch())
    moved.append(plain.state.buffers[PARAMETERS] - before)
    largest = np.abs(moved[2]).max()
    assert largest > 0
    if solver.startswith("sgd"):  # adam divides by the gradient's own size: the smallest count as much as the largest
        assert np.abs(moved[0] - moved[1]).max() < 2.0**-8 * largest
        assert np.abs(moved[1] - moved[2]).max() < 2.0**-6 * largest
    assert np.dot(moved[1], moved[2]) > 0.95 * np.linalg.norm(moved[1]) * np.linalg.norm(moved[2])


def test_one_infinite_batch_of_several_leaves_out_their_update(tmp_path: Path) -> None:
    step = compiled(written(tmp_path, batches=2), threads=1)
    for seed in range(2):
        step(**batch(seed))
    kept = held(step)
    assert kept[GOOD] == 1
    overflow(step)
    step(**batch(2))
    statistics = [name for name in kept if name.endswith((".mean", ".variance", ".factor"))]
    assert len(statistics) == 3
    for name in statistics:
        np.testing.assert_array_equal(step.state.buffers[name], kept[name])
    step.state.buffers[SCALE][...] = 2.0**10
    step(**batch(3))
    after = held(step)
    for name in (PARAMETERS, ".history0", ".history1"):
        np.testing.assert_array_equal(after[name], kept[name])
    assert after[SCALE] == 2.0**9
    assert after[GOOD] == 0
    assert not after[".gradients"].any()
    assert after[".step"] == 4, "batches are counted, since every second one ends an update"


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_gradients_that_are_asked_for_are_those_of_the_loss(net: Path, precision: Precision) -> None:
    names = ["image", "score.weight"]
    found = [
        netc.compile(net, mode="train", dims={"N": 8}, precision=p, seed=1, gradients=names, target="numpy")(**batch())
        for p in ("f32", precision)
    ]
    for name in names:
        plain, mixed = (one[f"{name}.grad"] for one in found)
        assert mixed.dtype == np.float32
        assert np.linalg.norm(mixed - plain) < 0.1 * np.linalg.norm(plain)
        assert not np.array_equal(mixed, plain)


def test_a_resumed_run_goes_on_with_its_scale(tmp_path: Path) -> None:
    path = written(tmp_path)
    more: dict[str, Any] = {"precision": "f16", "scale_growth": 3, "quiet": True, "threads": 1, "target": "numpy"}
    netc.train(path, folder=tmp_path / "whole", **more)
    netc.train(path, folder=tmp_path / "parts", steps=4, **more)
    netc.train(path, folder=tmp_path / "parts", resume=True, **more)
    whole, parts = (_last(tmp_path / name) for name in ("whole", "parts"))
    assert whole[SCALE] == 2.0**16 * 2**4
    assert whole.keys() == parts.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, parts[name], err_msg=name)
    assert SCALE not in netc.compile(path, dims={"N": 8}, target="numpy").state


def _last(folder: Path) -> dict[str, Array]:
    files = sorted(folder.rglob("*.safetensors"))
    return next(read for path in reversed(files) if SCALE in (read := dict(read_tensors(path))))


def test_a_snapshot_of_f32_is_refused_in_f16(tmp_path: Path) -> None:
    path = written(tmp_path)
    netc.train(path, folder=tmp_path / "run", steps=4, quiet=True, target="numpy")
    with pytest.raises(netc.UserError, match=r"\.scale is missing"):
        netc.train(path, folder=tmp_path / "run", precision="f16", resume=True, quiet=True, target="numpy")
