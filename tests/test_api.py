"""The Python API: what `netc.compile` returns, how a training step follows its block, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.api.compiled import Step

EXAMPLES = Path(__file__).parents[1] / "examples"
LENET = EXAMPLES / "lenet.net"
TEXT = """
net a {
    input x: f32[N, 6]
    input y: i32[N]
    h = x |> linear(5) as enc |> tanh
    logits = h |> linear(3) as score
    loss nll = softmax_loss(logits, y)
    metric top1 = accuracy(logits, y)
    output prob = softmax(logits)
}
data rows = npz("rows.npz", arrays: [x, y], batch: BATCH)
train a {
    from: rows
    solver: SOLVER
    schedule: step(gamma: 0.5, every: 2)
    steps: 10
    EXTRA
}
"""


def written(folder: Path, *, batch: int = 8, solver: str = "sgd(lr: 0.1, momentum: 0.9)", extra: str = "") -> Path:
    file = folder / f"a{batch}.net"
    file.write_text(TEXT.replace("BATCH", str(batch)).replace("SOLVER", solver).replace("EXTRA", extra))
    return file


def rows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, 6)).astype(np.float32), generator.integers(0, 3, count).astype(np.int32)


def test_outputs_decide_what_is_fed() -> None:
    exe = netc.compile(LENET, dims={"N": 3}, outputs=["prob"])
    assert list(exe.program.inputs) == ["image"]
    x = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    prob = exe(image=x)["prob"]
    assert set(exe(image=x)) == {"prob"}
    np.testing.assert_allclose(prob.sum(axis=1), 1, rtol=1e-5)
    inner = netc.compile(LENET, dims={"N": 3}, outputs=["features", "prob"])(image=x)
    assert inner["features"].shape == (3, 500)
    np.testing.assert_allclose(inner["prob"], prob, rtol=1e-4, atol=1e-6)


def test_state_is_read_and_written(tmp_path: Path) -> None:
    exe = netc.compile(LENET, dims={"N": 1}, outputs=["prob"])
    assert len(list(exe.state)) == 8
    exe.state["score.weight"] = np.zeros((10, 500))
    exe.state["score.bias"][:] = 0
    np.testing.assert_allclose(exe(image=np.ones((1, 1, 28, 28)))["prob"], 0.1, rtol=1e-6)
    exe.save(tmp_path / "w.safetensors")
    other = netc.compile(LENET, dims={"N": 2}, outputs=["prob"], seed=9)
    assert not np.array_equal(other.state["conv1.weight"], exe.state["conv1.weight"])
    other.load(tmp_path / "w.safetensors")
    assert np.array_equal(other.state["conv1.weight"], exe.state["conv1.weight"])


def test_fused_and_unfused_agree() -> None:
    x = np.random.default_rng(1).random((4, 1, 28, 28), np.float32)
    y = np.array([1, 2, 3, 4], np.int32)
    steps = [netc.compile(LENET, mode="train", dims={"N": 4}, fused=fused, threads=1) for fused in (True, False)]
    for _ in range(3):
        fused, unfused = (step(image=x, label=y) for step in steps)
    np.testing.assert_allclose(fused["nll"], unfused["nll"], rtol=1e-4)
    for name in steps[0].state:
        np.testing.assert_allclose(steps[0].state[name], steps[1].state[name], rtol=1e-3, atol=1e-5)


def test_gradients_are_those_of_the_loss(tmp_path: Path) -> None:
    x, y = rows(8)
    names = ["x", "enc.weight"]
    exe = netc.compile(written(tmp_path), mode="train", update=False, dims={"N": 8}, outputs=["nll"], gradients=names)
    before = exe.state["enc.weight"].copy()
    found = exe(x=x, y=y)
    assert np.array_equal(exe.state["enc.weight"], before)
    assert set(found) - {".objective"} == {"nll", "x.grad", "enc.weight.grad"}
    direction = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    step = 1e-2
    slope = (exe(x=x + step * direction, y=y)["nll"] - exe(x=x - step * direction, y=y)["nll"]) / (2 * step)
    assert float(slope) == pytest.approx(float((found["x.grad"] * direction).sum()), rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("precision", ["f32", "f16"])
@pytest.mark.parametrize("extra", ["", "accumulate: 2", "clip: 0.01"])
def test_gradients_beside_an_update_are_one_program(tmp_path: Path, precision: str, extra: str) -> None:
    """They are those of the batch, whatever the step does with them, and learning is the same as without them."""
    x, y = rows(8)
    names = ["score.bias", "x", "enc"]
    file = written(tmp_path, extra=extra)
    step = netc.compile(file, mode="train", dims={"N": 8}, gradients=names, precision=precision)
    plain = netc.compile(file, mode="train", dims={"N": 8}, precision=precision)
    still = netc.compile(file, mode="train", dims={"N": 8}, gradients=names, precision=precision, update=False)
    before = step.state["score.bias"].copy()
    for _ in range(4):
        for name in still.state:
            still.state[name] = step.state[name]
        expected, found = still(x=x, y=y), step(x=x, y=y)
        assert set(found) == {*plain(x=x, y=y), *(f"{name}.grad" for name in names)}
        for name in (f"{name}.grad" for name in names):
            tolerance = 1e-5 if precision == "f32" else 2e-2
            np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance * 0.1)
    assert not np.array_equal(step.state["score.bias"], before)
    for name in step.state:
        np.testing.assert_allclose(step.state[name], plain.state[name], rtol=1e-4, atol=1e-6)


def test_gradients_without_a_train_block_are_all_that_is_computed(tmp_path: Path) -> None:
    file = tmp_path / "b.net"
    file.write_text(TEXT.partition("data rows")[0])
    x, y = rows(8)
    with pytest.raises(netc.UserError, match="no `train` block"):
        netc.compile(file, mode="train", dims={"N": 8})
    with pytest.raises(netc.UserError, match="no `train` block"):
        netc.compile(file, mode="train", dims={"N": 8}, gradients=["enc.weight"], update=True)
    exe = netc.compile(file, mode="train", dims={"N": 8}, gradients=["enc.weight"])
    assert set(exe(x=x, y=y)) == {"nll", "top1", "enc.weight.grad"}


def test_a_step_follows_the_schedule(tmp_path: Path) -> None:
    """Without momentum an update is the rate times the gradient: it halves after two steps."""
    x, y = rows(8)
    file = written(tmp_path, solver="sgd(lr: 0.1)")
    step = netc.compile(file, mode="train", dims={"N": 8})
    exe = netc.compile(file, mode="train", update=False, dims={"N": 8}, outputs=["nll"], gradients=["score.bias"])
    for rate in (0.1, 0.1, 0.05, 0.05, 0.025):
        for name in step.state:
            exe.state[name] = step.state[name]
        gradient = exe(x=x, y=y)["score.bias.grad"]
        before = step.state["score.bias"].copy()
        step(x=x, y=y)
        np.testing.assert_allclose(before - step.state["score.bias"], rate * gradient, rtol=1e-3, atol=1e-7)
    before = step.state["score.bias"].copy()
    step(x=x, y=y, **{".rate": 0.0})
    assert np.array_equal(step.state["score.bias"], before)


@pytest.mark.parametrize("solver", ["sgd(lr: 0.1, momentum: 0.9)", "adam(lr: 0.01)"])
def test_accumulated_batches_are_one_large_batch(solver: str, tmp_path: Path) -> None:
    x, y = rows(8)
    large = netc.compile(written(tmp_path, solver=solver), mode="train", dims={"N": 8})
    small = netc.compile(written(tmp_path, batch=2, solver=solver, extra="accumulate: 4"), mode="train", dims={"N": 2})
    for _ in range(5):
        large(x=x, y=y)
        for i in range(0, 8, 2):
            small(x=x[i : i + 2], y=y[i : i + 2])
    for name in large.state:
        np.testing.assert_allclose(small.state[name], large.state[name], rtol=1e-3, atol=1e-5)


def test_train_gives_what_steps_give(tmp_path: Path) -> None:
    x, y = rows(16)
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    file = written(tmp_path)
    history = netc.train(file, steps=4, folder=tmp_path / "run", threads=1, quiet=True)
    step = netc.compile(file, mode="train", dims={"N": 8}, threads=1)
    assert isinstance(step, Step)
    losses = [float(step(x=x[i : i + 8], y=y[i : i + 8])["nll"]) for i in (0, 8, 0, 8)]
    np.testing.assert_array_equal(history.losses, np.array(losses, np.float32))
    assert history.weights is not None
    tested = netc.compile(file, dims={"N": 8}, outputs=["prob"])
    tested.load(history.weights)
    assert np.array_equal(tested.state["enc.weight"], step.state["enc.weight"])


def test_what_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    for settings in (
        {"mode": "deploy"},
        {"net": "b"},
        {"outputs": ["probb"]},
        {"target": "cc"},
        {"device": "tpu"},
        {"target": "numpy", "device": "cuda"},
        {"dims": {"M": 3}},
        {"dims": {"N": 0}},
        {"settings": {"classes": 3}},
        {"mode": "train", "update": False, "gradients": ["enc.wieght"]},
        {"mode": "train", "outputs": ["prob"]},
    ):
        with pytest.raises(netc.UserError):
            netc.compile(file, **settings)
    (tmp_path / "b.net").write_text("net b { input x: f32[N, 2]\n output y = rellu(x) }")
    with pytest.raises(netc.SourceErrors, match="did you mean `relu`"):
        netc.compile(tmp_path / "b.net")
    exe = netc.compile(file, dims={"N": 2}, outputs=["prob"])
    for feeds in ({}, {"x": np.zeros((3, 6))}, {"x": np.zeros((2, 6)), "z": 1}):
        with pytest.raises(netc.UserError):
            exe(**feeds)


def test_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.fitting.available", lambda: 1_000_000)
    with pytest.raises(netc.UserError, match="GB of memory for N=64, this machine has"):
        netc.compile(LENET, dims={"N": 64})


def test_a_net_without_a_train_block(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(TEXT[: TEXT.index("data rows")])
    with pytest.raises(netc.UserError, match="no `train` block"):
        netc.compile(file, mode="train")
    with pytest.raises(netc.UserError, match="no `train` block"):
        netc.train(file)
    report = netc.profile(file, dims={"N": 4}, seconds=0.05)
    assert report.mode == "train"


def test_objects_show_themselves() -> None:
    exe = netc.compile(EXAMPLES / "user_op.net", dims={"N": 2}, outputs=["prob"])
    assert repr(exe) == "<user_op (test), numpy: image: f32[N,1,28,28] -> prob: f32[N,10]>"
    html = exe._repr_html_()
    assert "<svg" in html
    assert "50,890 parameters" in html
    assert "kernels" in netc.profile(EXAMPLES / "user_op.net", dims={"N": 2}, seconds=0.05)._repr_html_()
    assert "conv2" in netc.summary(LENET)._repr_html_()


def test_reports_print_as_the_commands_print_them() -> None:
    lines = str(netc.summary(LENET)).splitlines()
    assert lines[0].startswith("lenet (test")
    assert "parameters (" in lines[-2]
    assert "unfused / fused" in str(netc.profile(EXAMPLES / "user_op.net", dims={"N": 2}, seconds=0.05))


def test_names_of_the_package() -> None:
    assert set(netc.__all__) <= set(dir(netc))
    with pytest.raises(AttributeError):
        netc.no_such_thing  # noqa: B018
