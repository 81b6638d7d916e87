"""A solver's state goes to Caffe as it came from it: every type of solver, both formats, nets with counters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.api.compiled import Compiled
from netc.api.training import Run, Training
from netc.compiler.build import load
from netc.compiler.program import UserError
from netc.compiler.spec import TrainSpec
from netc.request import request
from netc.runtime.caffe.hdf5 import read_solver_state_hdf5
from netc.runtime.caffe.model import read_model
from netc.runtime.caffe.resuming import Began, leave, remembered
from netc.runtime.caffe.solver_state import read_solver_state
from support.caffe import CONFORMANCE

FILES = CONFORMANCE / "files"
SOLVERS = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "",
    "RMSProp": "rms_decay: 0.9",
    "AdaDelta": "momentum: 0.9",
    "Adam": "momentum: 0.9",
}
POLICY = 'lr_policy: "step" gamma: 0.5 stepsize: 1'
NET = """
layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 3 dim: 4 } shape { dim: 3 } } }
layer { name: "drop" type: "Dropout" bottom: "x" top: "d" }
layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" param { lr_mult: 0 } inner_product_param { num_output: 4
        weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
"""


def step(folder: Path, net: Path | str, more: str) -> tuple[Compiled, TrainSpec]:
    """A training step of a solver of Caffe's on a net, and its block."""
    if isinstance(net, str):
        (folder / "net.prototxt").write_text(net)
        net = folder / "net.prototxt"
    solver = folder / "solver.prototxt"
    policy = "" if "lr_policy" in more else 'lr_policy: "fixed"'
    solver.write_text(f'net: "{net}" base_lr: 0.01 max_iter: 100 {policy} {more}')
    return netc.compile(solver, mode="train"), load(solver).trains[0]


@pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")
@pytest.mark.parametrize("hdf5", [False, True], ids=["binary", "hdf5"])
@pytest.mark.parametrize("kind", SOLVERS)
def test_what_comes_from_caffe_goes_back_as_it_was(kind: str, hdf5: bool, tmp_path: Path) -> None:
    exe, spec = step(tmp_path, FILES / "tiny.prototxt", f'type: "{kind}" {SOLVERS[kind]} {POLICY}')
    infos = exe.compilation.net.state
    ending = ".h5" if hdf5 else ""
    exe.state.load(FILES / f"tiny_{kind}_iter_3.caffemodel{ending}")
    Began(FILES / f"tiny_{kind}_iter_3.solverstate{ending}").restore(exe.state, spec, infos)
    weights, left = leave(tmp_path / "left", exe.state, spec, infos, 3, hdf5=hdf5)
    assert (weights.name, left.name) == (f"left_iter_3.caffemodel{ending}", f"left_iter_3.solverstate{ending}")
    read = read_solver_state_hdf5 if hdf5 else read_solver_state
    ours, real = read(left), read(FILES / f"tiny_{kind}_iter_3.solverstate{ending}")
    assert (ours.iter, ours.current_step) == (real.iter, real.current_step) == (3, 2)
    assert Path(ours.learned_net) == weights
    for number, (mine, theirs) in enumerate(zip(ours.history, real.history, strict=True)):
        # Caffe's solvers remember what passed through statistics, which never moves them; ours do not.
        learned = remembered(infos)[number % len(remembered(infos))].kind == "parameter"
        np.testing.assert_array_equal(mine.data, theirs.data if learned else 0 * theirs.data, strict=True)
    if not hdf5:
        held = {layer.name: layer.blobs for layer in read_model(weights).layers}
        for layer in read_model(FILES / f"tiny_{kind}_iter_3.caffemodel").layers:
            for mine, theirs in zip(held.get(layer.name, ()), layer.blobs, strict=True):
                np.testing.assert_array_equal(mine.data, theirs.data)


def test_a_net_that_draws_random_numbers_and_a_frozen_weight(tmp_path: Path) -> None:
    """Counters are no parameters; what does not learn has a history of 0."""
    exe, spec = step(tmp_path, NET, "momentum: 0.9")
    feeds = {"x": np.ones((3, 4), np.float32), "y": np.arange(3, dtype=np.float32)}
    for _ in range(4):
        exe(**feeds)
    infos = exe.compilation.net.state
    _, left = leave(tmp_path / "left", exe.state, spec, infos, 4)
    weight, bias = read_solver_state(left).history
    assert not weight.data.any()
    assert np.abs(bias.data).max() > 0
    other, _ = step(tmp_path, NET, "momentum: 0.9")
    Began(left).restore(other.state, spec, infos)
    for name, array in exe.state.logical().items():
        if name.startswith(".history"):
            np.testing.assert_array_equal(other.state.logical()[name], array)
    assert int(other.state.buffers[".step"]) == 4
    adam, its = step(tmp_path, NET, 'type: "Adam" momentum: 0.9')
    with pytest.raises(UserError, match="it has 2 histories, adam keeps 2 for each of 2"):
        Began(left).restore(adam.state, its, adam.compilation.net.state)


@pytest.mark.parametrize(
    ("policy", "done", "lowered"),
    [
        ('lr_policy: "step" gamma: 0.1 stepsize: 5', 5, 0),
        ('lr_policy: "step" gamma: 0.1 stepsize: 5', 11, 2),
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 3 stepvalue: 7', 3, 0),
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 3 stepvalue: 7', 4, 1),
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 3 stepvalue: 7', 90, 2),
        ('lr_policy: "inv" gamma: 0.1 power: 1', 90, 0),
    ],
)
def test_how_often_the_rate_was_lowered(policy: str, done: int, lowered: int, tmp_path: Path) -> None:
    exe, spec = step(tmp_path, NET, policy)
    _, left = leave(tmp_path / "left", exe.state, spec, exe.compilation.net.state, done)
    assert read_solver_state(left).current_step == lowered
    # A solver without histories has some of 0, as Caffe's does.
    assert [blob.data.any() for blob in read_solver_state(left).history] == [False, False]


def test_a_layer_that_no_loss_reaches_is_decayed_and_remembered(tmp_path: Path) -> None:
    """Caffe's solver goes over all parameters; of these the gradient is 0, the decay is not."""
    side = 'layer { name: "side" type: "InnerProduct" bottom: "x" top: "side" inner_product_param { num_output: 2 } }'
    exe, spec = step(tmp_path, NET + side, "momentum: 0.9 weight_decay: 0.5")
    exe.state["side.weight"] = np.ones((2, 4), np.float32)
    feeds = {"x": np.ones((3, 4), np.float32), "y": np.arange(3, dtype=np.float32)}
    assert set(exe(**feeds)) == {"loss", "side"}
    np.testing.assert_allclose(exe.state["side.weight"], 1 - 0.01 * 0.5, rtol=1e-6)
    weights, left = leave(tmp_path / "left", exe.state, spec, exe.compilation.net.state, 1)
    assert [blob.shape for blob in read_solver_state(left).history] == [(4, 4), (4,), (2, 4), (2,)]
    assert [layer.name for layer in read_model(weights).layers] == ["ip", "side"]


def test_a_solver_names_the_weights_to_begin_with(tmp_path: Path) -> None:
    """`weights: "a,b"` of a solver: of two files the later one wins."""
    exe, _ = step(tmp_path, NET, "")
    for name, value in (("a", 1.0), ("b", 2.0)):
        exe.state["ip.bias"] = np.full(4, value, np.float32)
        exe.save(tmp_path / f"{name}.caffemodel")
    _, spec = step(tmp_path, NET, f'weights: "{tmp_path}/a.caffemodel,{tmp_path}/b.caffemodel" weights: "c.caffemodel"')
    assert [Path(name).name for name in spec.weights or ()] == ["a.caffemodel", "b.caffemodel", "c.caffemodel"]
    noise = """layer { name: "in" type: "DummyData" top: "x" top: "y" dummy_data_param {
    shape { dim: 3 dim: 4 } shape { dim: 3 } data_filler { type: "gaussian" } data_filler { type: "constant" } } }"""
    fed = noise + "\n".join(line for line in NET.splitlines() if '"Input"' not in line)
    step(tmp_path, fed, f'weights: "{tmp_path}/a.caffemodel,{tmp_path}/b.caffemodel"')
    training = Training(tmp_path / "solver.prototxt", request(mode="train", steps=1))
    run = Run(training, 0)
    run.begin(None)
    np.testing.assert_array_equal(run.state["ip.bias"], np.full(4, 2.0))
