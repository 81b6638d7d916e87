"""Looking into a pass: any value, as that pass had it, without updates; and runs of a part of the layers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import netc
from netc.__main__ import cli
from netc.api.compiled import Compiled
from netc.compiler.graph import Graph
from netc.compiler.interpret import interpret
from netc.compiler.net import SEED, STEP
from netc.grammar.source import UserError

EXAMPLES = Path(__file__).parents[1] / "examples"
NORM = """
net a {
    input x: f32[N, 2, 6, 6]
    input y: i32[N]
    h = x |> conv(4, 3, pad: 1) as enc |> batch_norm as bn |> relu |> dropout(0.5) as drop
    left, right = split(h, 2, axis: 1) as cut
    y2 = left * right |> linear(5) |> tanh
    logits = y2 |> linear(3) as score
    loss nll = softmax_loss(logits, y)
    output prob = softmax(logits)
}
data rows = npz("rows.npz", arrays: [x, y], batch: 4)
train a {
    from: rows
    solver: sgd(lr: 0.1, momentum: 0.9)
    schedule: fixed
    steps: 10
    EXTRA
}
"""
TINY = """
net b {
    input x: f32[N, 6]
    input y: i32[N]
    h = x |> linear(3) as enc |> dropout(0.5)
    loss nll = softmax_loss(h, y)
}
data rows = npz("rows.npz", arrays: [x, y], batch: 4)
train b {
    from: rows
    solver: sgd(lr: 0.1)
    steps: 1
}
"""
Arrays = dict[str, Any]


def written(folder: Path, extra: str = "") -> Path:
    file = folder / "a.net"
    file.write_text(NORM.replace("EXTRA", extra))
    return file


def fed(exe: Compiled, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    inputs = {k: t for k, t in exe.program.inputs.items() if not k.startswith(".")}
    return {
        k: rng.standard_normal(t.shape).astype("f4") if t.is_float else rng.integers(0, 3, t.shape).astype("i4")
        for k, t in inputs.items()
    }


def state_of(exe: Compiled) -> Arrays:
    """A copy of all that values depend on."""
    counters = {name: exe.state.buffers[name].copy() for name in (SEED, STEP) if name in exe.state.buffers}
    return {**{name: array.copy() for name, array in exe.state.items()}, **counters}


def by_oracle(exe: Compiled, names: Sequence[str], feeds: Arrays, state: Arrays) -> Arrays:
    graph = Graph({name: exe.compilation.net.tensor(name) for name in names})
    return interpret(graph, {k: v for k, v in {**feeds, **state}.items() if k in {**graph.inputs, **graph.params}})


def close(found: Arrays, expected: Arrays) -> None:
    for name in expected:
        assert found[name].shape == expected[name].shape
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("mode", ["test", "train"])
@pytest.mark.parametrize("example", ["lenet", "cifar10_quick"])
def test_every_layer_can_be_looked_at(example: str, mode: Any) -> None:
    exe = netc.compile(EXAMPLES / f"{example}.net", mode=mode, dims={"N": 2})
    feeds, before = fed(exe), state_of(exe)
    returned = exe(**feeds)
    layers = [row.name for row in exe.compilation.net.layers]
    close(exe.values(*layers), by_oracle(exe, layers, feeds, before))
    after = state_of(exe)
    assert set(exe(**feeds)) == set(returned)
    close({name: exe.value(name) for name in layers}, by_oracle(exe, layers, feeds, after))


def test_a_look_sees_the_pass_and_changes_nothing(tmp_path: Path) -> None:
    step = netc.compile(written(tmp_path), mode="train", dims={"N": 4}, seed=3)
    twin = netc.compile(written(tmp_path), mode="train", dims={"N": 4}, seed=3)
    for turn in range(3):
        feeds, before = fed(step, turn), state_of(step)
        nll, other = step(**feeds)["nll"], twin(**feeds)["nll"]
        np.testing.assert_allclose(nll, other, rtol=1e-4)
        after = state_of(step)
        names = ("enc", "bn", "drop", "cut.2", "y2", "score", "y2.linear", "nll", "x")
        close({name: step.value(name) for name in names}, by_oracle(step, names, feeds, before))
        for name, array in state_of(step).items():
            assert np.array_equal(array, after[name]), name
        for name, array in state_of(twin).items():
            np.testing.assert_allclose(after[name], array, rtol=1e-3, atol=1e-5)
    assert int(step.state.buffers[STEP]) == 3
    mask = step.value("drop") == 0
    assert 0.3 < mask.mean() < 0.9


def test_the_name_of_a_layer_that_its_statement_binds_to_another_value(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 2})
    exe(**fed(exe))
    linear, tanh = exe.value("y2.linear"), exe.value("y2.tanh")
    np.testing.assert_allclose(np.tanh(linear), tanh, rtol=1e-5)
    np.testing.assert_array_equal(exe.value("y2"), tanh)


def test_accumulated_batches_are_looked_at_one_by_one(tmp_path: Path) -> None:
    step = netc.compile(written(tmp_path, "accumulate: 2"), mode="train", dims={"N": 4})
    for turn in range(4):
        feeds, before = fed(step, turn), state_of(step)
        step(**feeds)
        close(step.values("score"), by_oracle(step, ["score"], feeds, before))


def test_what_was_written_since_does_not_count(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 2})
    held = exe.state["enc.weight"]
    feeds, before = fed(exe), state_of(exe)
    prob = exe(**feeds)["prob"]
    held[:] = 0  # an array that was there before the pass
    exe.state["score.weight"] = np.ones((3, 5))
    exe.state["bn.mean"][:] = 7
    feeds["x"][:] = 0  # nor are feeds the executable's own
    names = ("enc", "bn", "score")
    close({name: exe.value(name) for name in names}, by_oracle(exe, names, fed(exe), before))
    np.testing.assert_allclose(exe.value("prob"), prob, rtol=1e-5)
    assert not held.any()
    assert (exe.state["score.weight"] == 1).all()
    assert (exe.state["bn.mean"] == 7).all()
    exe(**fed(exe))
    assert not (exe.value("enc") - exe.state["enc.bias"].reshape(1, 4, 1, 1)).any()


def test_gradients_of_values(tmp_path: Path) -> None:
    path = written(tmp_path)
    exe = netc.compile(path, mode="train", dims={"N": 4}, gradients=["bn", "score", "x", "enc.weight"])
    feeds = fed(exe)
    found = exe(**feeds)
    wide = exe.values("score", "y")
    prob = np.exp(wide["score"]) / np.exp(wide["score"]).sum(1, keepdims=True)
    np.testing.assert_allclose(found["score.grad"], (prob - np.eye(3)[wide["y"]]) / 4, rtol=1e-4, atol=1e-6)
    step = netc.compile(path, mode="train", dims={"N": 4})
    step(**feeds)
    names = ("bn.grad", "x.grad", "enc.weight.grad")
    close(step.values(*names), {name: found[name] for name in names})
    assert np.abs(found["bn.grad"]).sum() > 0
    with pytest.raises(UserError, match="`encc` is no input, parameter or value"):
        netc.compile(path, mode="train", gradients=["encc"])


def test_layers_from_and_to(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), mode="train", dims={"N": 4}, update=False)
    feeds = fed(exe)
    exe(**feeds)
    end = exe.run_layers({}, start="bn", end="y2.linear")
    assert list(end) == ["y2.linear"]
    np.testing.assert_allclose(end["y2.linear"], exe.value("y2.linear"), rtol=1e-4, atol=1e-6)
    halves = exe.run_layers({"drop": np.arange(4 * 4 * 36).reshape(4, 4, 6, 6)}, start="cut", end="cut")
    np.testing.assert_array_equal(halves["cut.2"].reshape(4, -1)[0], np.arange(72, 144))
    whole = exe.run_layers(feeds)
    np.testing.assert_allclose(whole["nll"], exe.value("nll"), rtol=1e-5)
    other = exe.run_layers({"logits": np.zeros((4, 3))}, start="nll", outputs=["nll"])
    np.testing.assert_allclose(other["nll"], np.log(3), rtol=1e-6)


def test_statistics_follow_the_layers_that_run(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), mode="train", dims={"N": 4}, update=False)
    exe(**fed(exe))
    before = state_of(exe)
    exe.run_layers({}, start="score")
    for name, array in state_of(exe).items():
        assert np.array_equal(array, before[name]), name
    exe.run_layers({"enc": np.full((4, 4, 6, 6), 5.0)}, start="bn", end="bn")
    changed = {name for name, array in state_of(exe).items() if not np.array_equal(array, before[name])}
    assert changed
    assert all(name.startswith("bn.") for name in changed)


def test_seeds_are_gradients_of_what_a_part_makes(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), mode="train", dims={"N": 4}, update=False)
    exe(**fed(exe))
    seed = np.random.default_rng(1).standard_normal((4, 3)).astype("f4")
    found = exe.run_layers({"score.grad": seed}, start="score", end="score", gradients=["y2.tanh", "score.weight"])
    np.testing.assert_allclose(found["y2.tanh.grad"], seed @ exe.state["score.weight"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["score.weight.grad"], seed.T @ exe.value("y2"), rtol=1e-4, atol=1e-6)


def test_the_command_takes_layers_as_outputs(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 2})
    feeds = fed(exe)
    exe(**feeds)
    exe.save(tmp_path / "w.safetensors")
    np.savez(tmp_path / "in.npz", x=feeds["x"])
    names = ["enc", "y2.linear", "cut.2"]
    flags = [part for name in names for part in ("--output", name)]
    files = [str(tmp_path / name) for name in ("a.net", "in.npz")]
    rest = ["--weights", str(tmp_path / "w.safetensors"), "--out", str(tmp_path / "out.npz")]
    done = CliRunner().invoke(cli, ["run", *files, *flags, *rest])
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "out.npz") as found:
        close({name: found[name] for name in names}, exe.values(*names))


def test_kernels_of_triton_are_looked_into(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    file = tmp_path / "b.net"
    file.write_text(TINY)
    step = netc.compile(file, mode="train", dims={"N": 4}, target="triton")
    for turn in range(2):  # the second with what the first one left on the device
        feeds, before = fed(step, turn), state_of(step)
        step(**feeds)
        after = state_of(step)
        names = ["enc", "h"]
        close(step.values(*names), by_oracle(step, names, feeds, before))
        assert all(np.array_equal(array, after[name]) for name, array in state_of(step).items())
    part = step.run_layers({"h": np.ones((4, 3))}, start="nll", outputs=["nll"])
    np.testing.assert_allclose(part["nll"], np.log(3), rtol=1e-5)


def test_clones_look_into_passes_of_their_own(tmp_path: Path) -> None:
    first = netc.compile(written(tmp_path), dims={"N": 2})
    second = first.clone()
    feeds = [fed(first, turn) for turn in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            list(pool.map(lambda exe, given: exe(**given), (first, second), feeds))
            found = list(pool.map(lambda exe: exe.values("enc", "score"), (first, second)))
            for values, given in zip(found, feeds, strict=True):
                close(values, by_oracle(first, ["enc", "score"], given, state_of(first)))


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 2}, outputs=["enc"])
    with pytest.raises(UserError, match="has not run yet"):
        exe.value("enc")
    exe(x=np.zeros((2, 2, 6, 6)))
    with pytest.raises(UserError, match="binds no tensor `bnn`; did you mean"):
        exe.value("bnn")
    with pytest.raises(UserError, match=r"needs .parameters|needs bn\.|depend on"):
        exe.value("nll")
    with pytest.raises(UserError, match="runs no layer `score`"):
        exe.run_layers({}, start="score")
    whole = netc.compile(written(tmp_path), dims={"N": 2})
    with pytest.raises(UserError, match="reads enc: feed them, or run the whole net first"):
        whole.run_layers({}, start="bn", end="bn")
    whole(**fed(whole))
    with pytest.raises(UserError, match="the layer `score` comes after `enc`"):
        whole.run_layers({}, start="score", end="enc")
    with pytest.raises(UserError, match="this part of `a` reads no `x`; it reads enc"):
        whole.run_layers({"x": np.zeros((2, 2, 6, 6))}, start="bn", end="drop")
    whole.seconds(fed(whole), 2)
    with pytest.raises(UserError, match="no pass to look into"):
        whole.value("enc")
